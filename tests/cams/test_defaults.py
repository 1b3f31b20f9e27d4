"""The default parameters of all methods and metrics, as the design fixes them."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

from adcc_onnx.cams import optimized_cams, score_cams
from adcc_onnx.cams.array_context import ArrayContext
from adcc_onnx.cams.method_registry import METHODS, PAPER_METHODS, get_method
from adcc_onnx.metrics import pixel_curves, road
from adcc_onnx.metrics.metric_registry import ADCC_FAMILY, METRICS, get_metric

SCORECAM = {"scores": "logits", "weights": "softmax", "passes": 0, "agreement": 0.0}
METHOD_DEFAULTS = {
    "fakecam": {},
    "gradcam": {},
    "gradcam++": {},
    "smoothgradcam++": {"n": 25, "sigma": 0.15},
    "xgradcam": {},
    "scorecam": SCORECAM,
    "layercam": {},
    "hirescam": {},
    "cam": {},
    "gradcamelementwise": {},
    "shapleycam": {},
    "finercam": {"comparisons": 3, "alpha": 1.0, "shares": "softmax"},
    "eigencam": {"sign": "sum"},
    "eigengradcam": {},
    "segeigencam": {},
    "kpcacam": {"gamma": 0.0},
    "ablationcam": {},
    "sscam": {**SCORECAM, "n": 35, "sigma": 2.0},
    "iscam": {**SCORECAM, "n": 10},
    "groupcam": {"groups": 32},
    "reciprocam": {"scores": "logits", "gaussian": "auto"},
    "opticam": {"steps": 50, "rate": 0.1},
    "rise": {"masks": 4000, "grid": 7, "keep": 0.5},
    "saliency": {},
    "inputxgradient": {},
    "fullgrad": {},
    "smoothgrad": {"n": 25, "sigma": 0.15},
    "integratedgradients": {"steps": 50},
    "rollout": {},
    "chefer": {},
    "attentioncam": {},
    "attcat": {},
    "legrad": {"blocks": 0},
    "tokentm": {},
    "random": {},
    "center": {},
}
METRIC_DEFAULTS = {
    "average_drop": {},
    "average_increase": {},
    "average_gain": {},
    "coherency": {},
    "complexity": {},
    "adcc": {},
    "arcc": {},
    "drop_in_deletion": {},
    "deletion": {"steps": 224, "baseline": "zero"},
    "insertion": {"steps": 224, "baseline": "blur"},
    "road_morf": {},
    "road_lerf": {},
    "road": {},
    "sparseness": {},
    "entropy": {},
    "max_sensitivity": {"samples": 10, "radius": 0.02},
    "infidelity": {"samples": 100},
    "class_sensitivity": {"similarity": "ssim", "samples": 1},
    "passes": {},
    "pointing_game": {"tolerance": 0},
    "energy_pointing_game": {},
    "iou": {"threshold": 0.5},
    "best_iou": {},
    "top2_iou": {"threshold": 0.5},
}


def options(instance: object) -> dict[str, object]:
    """The options of a method or metric that was created without any."""
    if dataclasses.is_dataclass(instance) and not isinstance(instance, type):
        return dataclasses.asdict(instance)
    assert not inspect.signature(type(instance)).parameters
    return {}


def test_defaults_of_all_methods() -> None:
    with METHODS.isolated():
        assert {name: options(get_method(name)) for name in METHODS.names()} == METHOD_DEFAULTS


def test_defaults_of_all_metrics() -> None:
    with METRICS.isolated():
        assert {name: options(get_metric(name)) for name in METRICS.names()} == METRIC_DEFAULTS


def test_the_papers_methods_and_metrics() -> None:
    assert PAPER_METHODS == (
        "fakecam",
        "gradcam",
        "gradcam++",
        "smoothgradcam++",
        "xgradcam",
        "scorecam",
    )
    assert ADCC_FAMILY == (
        "average_drop",
        "average_increase",
        "coherency",
        "complexity",
        "adcc",
    )


def test_constants_of_adam_and_of_the_blurs() -> None:
    adam = [getattr(optimized_cams, f"_{n}") for n in ("START", "BETA1", "BETA2", "EPSILON")]
    assert adam == [0.5, 0.9, 0.999, 1e-8]
    assert (score_cams._KERNEL, score_cams._SIGMA) == (51, 50.0)
    assert (pixel_curves._KERNEL, pixel_curves._SIGMA) == (11, 5.0)
    assert road._NOISE == 0.01
    np.testing.assert_allclose(road._FRACTIONS, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def test_groupcams_blur_of_a_single_pixel() -> None:
    """A 51 x 51 Gaussian of sigma 50, written out."""
    image = np.zeros((1, 151, 151), np.float32)
    image[0, 75, 75] = 1
    distance = np.arange(-25, 26)
    window = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 50.0**2))
    expected = np.zeros((151, 151))
    expected[50:101, 50:101] = window / window.sum()
    np.testing.assert_allclose(score_cams._blur(image)[0], expected, atol=1e-9)


def test_insertions_blur_of_a_single_pixel() -> None:
    """An 11 x 11 Gaussian of sigma 5, written out."""
    image = np.zeros((1, 31, 31), np.float32)
    image[0, 15, 15] = 1
    distance = np.arange(-5, 6)
    window = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 5.0**2))
    expected = np.zeros((31, 31))
    expected[10:21, 10:21] = window / window.sum()
    np.testing.assert_allclose(pixel_curves.baseline_of(image, "blur")[0], expected, atol=1e-8)


def test_opticams_first_and_second_step() -> None:
    """From 0.5; Adam's first step is the learning rate, whatever the size of the gradient."""
    context = ArrayContext(
        activations=np.ones((1, 2, 1, 1), np.float32),
        share_gradient=lambda shares: np.array([[3.0, -0.5]], np.float32),
    )
    for steps in (1, 2):
        found = optimized_cams.OptiCAM(steps=steps).optimized(context)
        np.testing.assert_allclose(found, [[0.5 + 0.1 * steps, 0.5 - 0.1 * steps]], rtol=1e-6)


def test_the_centers_standard_deviation_is_a_quarter_of_the_height() -> None:
    context = ArrayContext(images=np.zeros((1, 3, 40, 60), np.float32))
    heatmap = get_method("center").raw_maps(context)[0]
    rows, columns = np.arange(40) - 19.5, np.arange(60) - 29.5
    expected = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * 10.0**2))
    np.testing.assert_allclose(heatmap, expected, rtol=1e-5)


@pytest.mark.parametrize(("grid", "size"), [(7, (56, 70)), (5, (33, 20)), (2, (9, 9))])
def test_rise_masks_equal_a_bilinear_loop(grid: int, size: tuple[int, int]) -> None:
    """Cells, shifts and interpolation written out from the paper, pixel by pixel."""
    method = get_method(f"rise(masks=5, grid={grid}, keep=0.3)")
    found = np.concatenate(list(method.drawn(np.random.default_rng(3), *size)))
    rng = np.random.default_rng(3)
    for mask in found:
        cells = rng.random((grid, grid)) < 0.3
        cell = [int(np.ceil(side / grid)) for side in size]
        shift = [int(rng.integers(side)) for side in cell]
        expected = [
            [_bilinear(cells, (i + shift[0], j + shift[1]), cell) for j in range(size[1])]
            for i in range(size[0])
        ]
        np.testing.assert_allclose(mask, expected, atol=1e-5)


def _bilinear(cells: np.ndarray, pixel: tuple[int, int], cell: list[int]) -> float:
    """The grid enlarged to (grid + 1) cells a side, at one pixel, by half-pixel centers."""
    grid, value = len(cells), 0.0
    at = [(p + 0.5) * grid / ((grid + 1) * side) - 0.5 for p, side in zip(pixel, cell, strict=True)]
    low = [int(np.floor(p)) for p in at]
    for i, j in np.ndindex(2, 2):
        weight = (1 - abs(at[0] - low[0] - i)) * (1 - abs(at[1] - low[1] - j))
        row, column = (min(max(k, 0), grid - 1) for k in (low[0] + i, low[1] + j))
        value += weight * cells[row, column]
    return value
