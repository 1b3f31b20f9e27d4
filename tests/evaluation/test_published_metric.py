"""The metric of its authors' published code, photo by photo, on a real model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import plain_loop, published_metric
from helpers.plain_loop import PlainModel

import adcc_onnx as adcc

LAYER = "/features/features.18/features.18.1/Clip_output_0"
COUNTS = [2, pytest.param(20, marks=pytest.mark.slow)]
METHODS = ("gradcam", "layercam")


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("maps", ["of adcc-onnx", "in closed form"])
def test_every_photo(maps: str, count: int, data: Path) -> None:
    path = data / "models" / "mobilenet_v2.onnx"
    photos = sorted((data / "photos").iterdir())[:: 100 // count]
    images = np.stack([plain_loop.torch_preset(photo) for photo in photos])
    plain = PlainModel.read(path, LAYER, "classifier.1.weight")
    model = adcc.load(path, device="cpu")
    rows = adcc.evaluate(model, images, METHODS, controls=False).per_image(as_dataframe=False)
    for method in METHODS:

        def ours(image: np.ndarray, target: int, method: str = method) -> np.ndarray:
            return adcc.explain(model, image[None], method, [target]).maps[0].astype(np.float64)

        def theirs(image: np.ndarray, target: int, method: str = method) -> np.ndarray:
            return plain_loop.cam(plain, method, image, plain.run(image[None])[1][0], target)

        explain = ours if maps == "of adcc-onnx" else theirs
        found = [row for row in rows if row["method"] == method]
        for row, image in zip(found, images, strict=True):
            wanted = published_metric.adcc(image, lambda x: plain.run(x[None])[0][0], explain)
            for name, value in wanted.items():
                # The masks of two programs round differently, and the network amplifies this.
                exact = maps == "of adcc-onnx" or name in ("coherency", "complexity")
                assert abs(row[name] - value) < (1e-6 if exact else 1e-5), (method, name)
