"""The Gaussian process behind few-pass Score-CAM, against scikit-learn, and what it is used for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small import small

import adcc_onnx as adcc
from adcc_onnx.cams.registry import get_method
from adcc_onnx.cams.surrogate import (
    _BLUR,
    _NOISE,
    Prediction,
    Process,
    expected_agreement,
    features,
    search,
    spread_out,
)
from adcc_onnx.errors import OptionError
from adcc_onnx.model import Model

RNG = np.random.default_rng(0)
MASKS = RNG.random((60, 3, 4)).astype(np.float32)


def smooth(points: np.ndarray) -> np.ndarray:
    return np.sin(points.sum(axis=1) / 3) + 0.3 * points[:, 0]


def test_predictions_equal_scikit_learns() -> None:
    regression = pytest.importorskip("sklearn.gaussian_process")
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")
    points = features(MASKS)
    scores, blank, shape = smooth(points[:20]), 0.4, (1.3, 0.02)
    process = Process.fit(points[:20], scores, blank, shape)
    mean, deviation = process.predict(points[20:])

    length, slope = shape
    linear = kernels.ConstantKernel(slope) * kernels.DotProduct(sigma_0=0)
    kernel = process.variance * (kernels.RBF(length) + linear)
    noise = _NOISE * process.variance
    theirs = regression.GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    known, values = np.vstack([points[:20], np.zeros(12)]), np.append(scores, blank)
    theirs.fit(known, values - values.mean())
    their_mean, their_deviation = theirs.predict(points[20:], return_std=True)
    np.testing.assert_allclose(mean, their_mean + values.mean(), rtol=1e-6)
    np.testing.assert_allclose(deviation, their_deviation, rtol=1e-5)
    # The scale is the likeliest one for this shape.
    best = theirs.log_marginal_likelihood_value_
    for factor in (0.9, 1.1):
        other = regression.GaussianProcessRegressor(
            factor * kernel, alpha=factor * noise, optimizer=None
        ).fit(known, values - values.mean())
        assert other.log_marginal_likelihood_value_ < best


def test_distances_are_those_of_blurred_masks() -> None:
    points = features(MASKS)
    i, j = np.divmod(np.arange(12), 4)
    blur = np.exp(-((i[:, None] - i) ** 2 + (j[:, None] - j) ** 2) / (2 * _BLUR**2))
    difference = (MASKS[0] - MASKS[1]).reshape(-1).astype(np.float64)
    wanted = difference @ blur @ difference
    assert ((points[0] - points[1]) ** 2).sum() == pytest.approx(wanted, rel=1e-6)


def test_first_points_are_far_apart() -> None:
    points = np.array([[0.0, 0], [9, 9], [9.1, 9], [0, 9], [0.1, 9]])
    assert set(spread_out(points, 3)) in ({0, 2, 3}, {0, 2, 4})


def test_the_search_scores_no_more_than_it_may_and_finds_the_highest() -> None:
    masks = RNG.random((400, 3, 4)).astype(np.float32)
    exact = 5 * smooth(features(masks))
    asked: list[int] = []

    def score(chosen: np.ndarray) -> np.ndarray:
        asked.extend(chosen.tolist())
        return exact[chosen]

    found = search(masks, 0.0, score, 60, lambda found: False)
    assert len(asked) == len(set(asked)) == found.known.sum() == 60
    np.testing.assert_array_equal(found.mean[found.known], exact[found.known])
    assert set(np.argsort(exact)[-10:]) <= set(asked)
    assert np.corrcoef(found.mean, exact)[0, 1] > 0.99


def test_the_agreement_of_what_is_known_is_one() -> None:
    maps = RNG.random((5, 7))
    known = Prediction(RNG.random(5), np.zeros(5), np.ones(5, bool))
    assert expected_agreement(known, lambda s: s @ maps) == pytest.approx(1.0)
    open_ = Prediction(known.mean, np.full(5, 3.0), np.zeros(5, bool))
    assert expected_agreement(open_, lambda s: s @ maps) < 0.9


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """64 channels, so that few passes are few."""
    proto = small()
    rng = np.random.default_rng(1)
    for index, (name, shape) in enumerate({"kernel": (64, 3, 3, 3), "weights": (5, 64)}.items()):
        values = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer[index].CopyFrom(onnx.numpy_helper.from_array(values, name))
    onnx.save(proto, tmp_path / "net.onnx")
    return adcc.load(tmp_path / "net.onnx", layer="active", device="cpu")


def test_with_as_many_passes_as_channels_the_map_is_exact(model: Model) -> None:
    images = RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
    exact = adcc.explain(model, images, "scorecam")
    np.testing.assert_allclose(adcc.explain(model, images, "scorecam(passes=64)"), exact, atol=1e-5)
    few = adcc.explain(model, images, "scorecam(passes=40)")
    for one, other in zip(few, exact, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


def test_wrong_options() -> None:
    for text in ("scorecam(passes=-1)", "scorecam(agreement=1.0)", "scorecam(agreement=-0.1)"):
        with pytest.raises(OptionError, match="passes must be at least 0, agreement in"):
            get_method(text)
