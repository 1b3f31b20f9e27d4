"""The whole table of two real models on real photos, against a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import plain_loop
from helpers.plain_loop import PlainModel

import adcc_onnx as adcc

MODELS = {
    "mobilenet_v2": (
        "torch",
        "/features/features.18/features.18.1/Clip_output_0",
        "classifier.1.weight",
        plain_loop.torch_preset,
    ),
    "bvlc_googlenet": (
        "caffe",
        "inception_5b/output",
        "loss3/classifier_w",
        plain_loop.caffe_preset,
    ),
}


def compare(name: str, data: Path, photos: list[Path], methods: list[str]) -> None:
    preset, layer, weights, preprocess = MODELS[name]
    path = data / "models" / f"{name}.onnx"
    images = np.stack([preprocess(photo) for photo in photos])
    rows = plain_loop.table(PlainModel.read(path, layer, weights), images, methods)
    model = adcc.load(path, preprocessing=preset, device="cpu")
    result = adcc.evaluate(model, photos, methods=methods)
    assert (result.images, result.failed) == (len(photos), 0)
    for method in methods:
        ours, wanted = result.methods[method].scores, plain_loop.scores(rows[method])
        close = np.abs(rows[method]["p"] - rows[method]["p_masked"]) < 1e-6
        for score, value in wanted.items():
            # Average increase may flip where the two probabilities differ by rounding alone.
            slack = close.mean() if score == "average_increase" else 0.0
            assert abs(ours[score] - value) <= 1e-3 + slack, (method, score, ours[score], value)


def photos_of(data: Path) -> list[Path]:
    return sorted((data / "photos").iterdir())


def test_ten_photos(data: Path) -> None:
    methods = ["fakecam", *plain_loop.GRADIENT_METHODS]
    compare("mobilenet_v2", data, photos_of(data)[::10], methods)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_hundred_photos(name: str, data: Path) -> None:
    methods = ["fakecam", *plain_loop.GRADIENT_METHODS]
    compare(name, data, photos_of(data), methods)


@pytest.mark.slow
def test_scorecam_on_a_photo(data: Path) -> None:
    compare("mobilenet_v2", data, photos_of(data)[40:41], ["scorecam"])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_scorecam_on_ten_photos(name: str, data: Path) -> None:
    compare(name, data, photos_of(data)[::10], ["scorecam"])
