"""The Gaussian process behind few-pass Score-CAM, against scikit-learn, and what it is used for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cams.gaussian_process import _NOISE, GaussianProcess, Prediction, fit_hyperparameters
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.cams.score_cams import group_sums
from adcc_onnx.cams.surrogate import _BLUR, expected_agreement, farthest_points, features, search
from adcc_onnx.errors import OptionError
from adcc_onnx.model import Model

RNG = np.random.default_rng(0)
MASKS = RNG.random((60, 3, 4)).astype(np.float32)


def smooth(points: np.ndarray) -> np.ndarray:
    return np.sin(points.sum(axis=1) / 3) + 0.3 * points[:, 0]


@pytest.fixture
def theirs() -> Callable[[tuple[float, float], float], Any]:
    """scikit-learn's process of a shape and a scale."""
    regression = pytest.importorskip("sklearn.gaussian_process")
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")

    def build(shape: tuple[float, float], variance: float) -> Any:
        length, slope = shape
        linear = kernels.ConstantKernel(slope) * kernels.DotProduct(sigma_0=0)
        kernel = variance * (kernels.RationalQuadratic(length, alpha=1) + linear)
        noise = _NOISE * variance
        return regression.GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)

    return build


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_predictions_equal_scikit_learns(theirs: Callable[..., Any]) -> None:
    """Also where the scores are learned a few at a time."""
    points, shape = features(MASKS), (1.3, 0.02)
    scores, known = smooth(points), np.array([59, 3, 7, 20, 21, 22, 30, 1, 50, 8])
    open_ = np.setdiff1d(np.arange(60), known)
    process = GaussianProcess(points, shape)
    for part in (known[:1], known[1:6], known[6:]):
        process.learn(part, scores[part])
    found = process.predict()
    white = np.linalg.cholesky(theirs(shape, 1.0).kernel(points[known]) + _NOISE * np.eye(10))
    centered = scores[known] - scores[known].mean()
    variance = (np.linalg.solve(white, centered) ** 2).mean()
    wanted = theirs(shape, variance).fit(points[known], centered)
    mean, deviation = wanted.predict(points[open_], return_std=True)
    _, covariance = wanted.predict(points[open_], return_cov=True)
    np.testing.assert_array_equal(np.flatnonzero(found.known), np.sort(known))
    np.testing.assert_array_equal(found.mean[known], scores[known])
    np.testing.assert_allclose(found.mean[open_], mean + scores[known].mean(), rtol=1e-6)
    np.testing.assert_allclose(found.deviation[open_], deviation, rtol=1e-5)
    noise = _NOISE * variance * np.eye(50)
    np.testing.assert_allclose(found.covariance(open_), covariance + noise, atol=1e-7)
    # The scale is the likeliest one for this shape.
    best = wanted.log_marginal_likelihood_value_
    for factor in (0.9, 1.1):
        other = theirs(shape, variance * factor).fit(points[known], centered)
        assert other.log_marginal_likelihood_value_ < best


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_the_fit_has_the_highest_likelihood_of_the_candidates(theirs: Callable[..., Any]) -> None:
    points = features(MASKS)
    scores = smooth(points)
    centered = scores - scores.mean()
    length, slope = fit_hyperparameters(points, scores)

    def likelihood(shape: tuple[float, float]) -> float:
        gram = theirs(shape, 1.0).kernel(points) + _NOISE * np.eye(60)
        white = np.linalg.solve(np.linalg.cholesky(gram), centered)
        variance = (white**2).mean()
        return float(theirs(shape, variance).fit(points, centered).log_marginal_likelihood_value_)

    best = likelihood((length, slope))
    for other in ((length * 1.6, slope), (length / 1.6, slope), (length, slope * 10)):
        assert likelihood(other) <= best


def test_distances_are_those_of_blurred_masks() -> None:
    points = features(MASKS)
    i, j = np.divmod(np.arange(12), 4)
    blur = np.exp(-((i[:, None] - i) ** 2 + (j[:, None] - j) ** 2) / (2 * _BLUR**2))
    difference = (MASKS[0] - MASKS[1]).reshape(-1).astype(np.float64)
    wanted = difference @ blur @ difference
    assert ((points[0] - points[1]) ** 2).sum() == pytest.approx(wanted, rel=1e-6)


def test_first_points_are_far_apart() -> None:
    points = np.array([[9.0, 9], [9.1, 9], [0, 9], [0.1, 9], [0, 0]])
    assert list(farthest_points(points, 2)) == [1, 2]


def test_the_search_scores_no_more_than_it_may_and_finds_the_highest() -> None:
    masks = RNG.random((401, 3, 4)).astype(np.float32)
    masks[-1] = 0
    exact = 5 * smooth(features(masks))
    asked: list[int] = []

    def score(chosen: np.ndarray) -> np.ndarray:
        asked.extend(chosen.tolist())
        return exact[chosen]

    found = search(masks, exact[-1], score, 60, lambda found: False)
    assert len(asked) == len(set(asked)) == found.known.sum() - 1 == 60
    np.testing.assert_array_equal(found.mean[found.known], exact[found.known])
    assert set(np.argsort(exact)[-10:]) <= set(asked)
    assert np.corrcoef(found.mean, exact)[0, 1] > 0.99


def test_possible_scores_vary_as_the_process_has_it() -> None:
    points = features(MASKS)
    process = GaussianProcess(points, (1.3, 0.02))
    process.learn(np.arange(10), smooth(points[:10]))
    found = process.predict()
    draws = found.draws(20_000)
    np.testing.assert_array_equal(draws[:, :10], np.tile(found.mean[:10], (20_000, 1)))
    wanted = found.covariance(np.arange(10, 60))
    error = np.cov(draws[:, 10:].T) - wanted
    assert np.abs(error).max() < 0.05 * wanted.max()
    np.testing.assert_allclose(draws.mean(axis=0), found.mean, atol=0.05 * wanted.max() ** 0.5)


def test_the_agreement_of_what_is_known_is_one() -> None:
    maps = RNG.random((5, 7))
    known = Prediction(RNG.random(5), np.zeros(5), np.ones(5, bool), lambda some: np.eye(len(some)))
    assert expected_agreement(known, lambda s: s @ maps) == pytest.approx(1.0)
    open_ = replace(known, deviation=np.full(5, 3.0), known=np.zeros(5, bool))
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
    return adcc.load(tmp_path / "net.onnx", layers="active", device="cpu")


def test_with_as_many_passes_as_channels_the_map_is_exact(model: Model) -> None:
    images = RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
    exact = adcc.explain(model, images, "scorecam").maps
    np.testing.assert_allclose(
        adcc.explain(model, images, "scorecam(passes=64)").maps, exact, atol=1e-5
    )
    few = adcc.explain(model, images, "scorecam(passes=40)").maps
    for one, other in zip(few, exact, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


def test_wrong_options() -> None:
    for text in ("scorecam(passes=-1)", "scorecam(agreement=1.0)", "scorecam(agreement=-0.1)"):
        with pytest.raises(OptionError, match="passes must be at least 0, agreement in"):
            get_method(text)


def test_sums_of_groups_are_numpys() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 4)).astype(np.float32)
    groups = rng.integers(1, 9, 50)  # the first of 10 groups and the last one have no row
    expected = np.zeros((10, 4))
    np.add.at(expected, groups, values)
    np.testing.assert_allclose(group_sums(values, groups, 10), expected, atol=1e-12)
