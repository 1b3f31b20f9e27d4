"""Drop in deletion, ARCC and top-2 IoU of a small model, against loops over its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from scipy.special import softmax

import adcc_onnx as adcc
from adcc_onnx.errors import OptionError
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.metrics.metric_registry import get_metric

Array = np.ndarray
METHODS = ["gradcam", "layercam", "fakecam"]
PIXELS = np.random.default_rng(3).integers(0, 256, (6, 8, 8, 3), np.uint8)
PRESET = Preprocessing.preset("torch", (8, 8))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(small(), path)
    return path


@pytest.fixture(scope="module")
def probabilities(path: Path) -> Any:
    """Class probabilities of images [N, 3, 8, 8], by nothing of ours."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Array) -> Array:
        (scores,) = session.run(None, {"image": np.asarray(images, np.float32)})
        return softmax(scores.astype(np.float64), axis=1)

    return run


def per_image(result: Any, method: str, name: str) -> Array:
    rows = result.per_image(as_dataframe=False)
    return np.array([row[name] for row in rows if row["method"] == method], np.float64)


@pytest.mark.parametrize("protocol", ["poppi2021", "openvino"])
def test_drop_in_deletion(protocol: str, path: Path, probabilities: Any) -> None:
    model = adcc.load(path, preprocessing=PRESET, device="cpu", batch_size=4)
    images = list(PIXELS)
    x = np.stack([PRESET(image) for image in images]).astype(np.float32)
    targets = probabilities(x).argmax(axis=1)
    rows = np.arange(len(x))
    p = probabilities(x)[rows, targets]
    black = PRESET(np.zeros((8, 8, 3), np.uint8)) if protocol == "openvino" else np.zeros_like(x[0])
    result = adcc.evaluate(model, images, METHODS, ["drop_in_deletion"], protocol=protocol)
    for method in METHODS:
        maps = adcc.explain(model, images, method).maps[:, None]
        without = probabilities(x * (1 - maps) + black * maps)[rows, targets]
        wanted = np.maximum(0, p - without) / p
        found = per_image(result, method, "drop_in_deletion")
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert result.methods[method].scores["drop_in_deletion"] == pytest.approx(found.mean())


def test_arcc_is_the_harmonic_mean_of_its_terms(path: Path) -> None:
    model = adcc.load(path, preprocessing=PRESET, device="cpu", batch_size=4)
    metrics = ["arcc", "coherency", "complexity", "road"]
    result = adcc.evaluate(model, list(PIXELS), METHODS, metrics)
    for method in METHODS:
        scores = result.methods[method].scores
        terms = [scores["coherency"], 1 - scores["complexity"], min(max(2 * scores["road"], 0), 1)]
        wanted = 3 / sum(1 / term for term in terms) if min(terms) > 0 else 0.0
        assert scores["arcc"] == pytest.approx(wanted, abs=1e-9)
        assert scores["arcc_per_image"] == pytest.approx(per_image(result, method, "arcc").mean())
        low, high = result.methods[method].intervals["arcc"]
        assert low <= scores["arcc"] <= high


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_top2_iou(threshold: float, path: Path, probabilities: Any) -> None:
    model = adcc.load(path, preprocessing=PRESET, device="cpu", batch_size=4)
    images = list(PIXELS)
    order = probabilities(np.stack([PRESET(image) for image in images])).argsort(axis=1)
    name = f"top2_iou(threshold={threshold})"
    result = adcc.evaluate(model, images, METHODS, [name])
    for method in METHODS:
        first = adcc.explain(model, images, method).maps
        second = adcc.explain(model, images, method, [int(c) for c in order[:, -2]]).maps
        wanted = [
            np.nan
            if np.ptp(a) == 0 or np.ptp(b) == 0
            else ((a >= threshold) & (b >= threshold)).sum()
            / max(1, ((a >= threshold) | (b >= threshold)).sum())
            for a, b in zip(first, second, strict=True)
        ]
        np.testing.assert_allclose(per_image(result, method, name), wanted, atol=1e-12)
    assert np.all(per_image(result, "fakecam", name) == 1.0)


def test_metrics_of_other_classes_skip_ready_made_maps(path: Path, tmp_path: Path) -> None:
    model = adcc.load(path, preprocessing=PRESET, device="cpu", batch_size=4)
    folder = tmp_path / "theirs"
    folder.mkdir()
    for i in range(len(PIXELS)):
        np.save(folder / f"image_{i}.npy", np.eye(8, dtype=np.float32))
    result = adcc.evaluate(
        model, list(PIXELS), (), ["top2_iou", "drop_in_deletion"], maps=folder, controls=False
    )
    assert list(result.methods["theirs"].scores) == ["drop_in_deletion"]


def test_a_threshold_out_of_range_is_an_error() -> None:
    with pytest.raises(OptionError, match="above 0 and at most 1"):
        get_metric("top2_iou(threshold=0)")
