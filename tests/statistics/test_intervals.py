"""Bootstrap intervals against scipy's, closed forms, and their nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.simulations import adcc_of_means, coverage, explained, identity
from scipy import stats

from adcc_onnx.statistics import resampling as module
from adcc_onnx.statistics.intervals import bca_interval, estimate, percentile_interval
from adcc_onnx.statistics.resampling import Resampling, leave_one_out_means, means, resampled_means
from adcc_onnx.statistics.sample_size import interval_widths, required_sample_size

MANY = Resampling(replicates=100_000)


@pytest.fixture
def skewed() -> np.ndarray:
    return np.random.default_rng(3).beta(0.4, 2.0, 40)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_intervals_of_the_same_replicates_equal_scipys(skewed: np.ndarray, method: str) -> None:
    wanted = stats.bootstrap((skewed,), np.mean, method=method, rng=np.random.default_rng(5))
    replicates = wanted.bootstrap_distribution
    if method == "BCa":
        jackknife = np.array([np.delete(skewed, i).mean() for i in range(len(skewed))])
        found = bca_interval(skewed.mean(), replicates, jackknife, 0.95)
    else:
        found = percentile_interval(replicates, 0.95)
    np.testing.assert_allclose(found, wanted.confidence_interval, rtol=1e-9)


def test_intervals_agree_with_scipy_up_to_the_draws(
    skewed: np.ndarray,
) -> None:
    wanted = stats.bootstrap(
        (skewed,), np.mean, method="BCa", n_resamples=100_000, rng=np.random.default_rng(5)
    ).confidence_interval
    found = estimate(skewed[None], identity, MANY)
    # A percentile of R draws is off by sqrt(p (1 - p) / R) / density: here by about 3e-4.
    np.testing.assert_allclose((found.low[0], found.high[0]), wanted, atol=1.5e-3)


def test_a_score_of_several_means_is_resampled_image_by_image() -> None:
    values = explained(np.random.default_rng(4), 60)

    def adcc(
        drop: np.ndarray, coherency: np.ndarray, complexity: np.ndarray, axis: int = -1
    ) -> np.ndarray:
        terms = [coherency.mean(axis), 1 - complexity.mean(axis), 1 - drop.mean(axis)]
        return stats.hmean(terms, axis=0)

    wanted = stats.bootstrap(
        tuple(values),
        adcc,
        method="BCa",
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(6),
    )
    found = estimate(values, adcc_of_means, Resampling(replicates=20_000))
    assert found.point[0] == pytest.approx(adcc(*values), rel=1e-12)
    interval = wanted.confidence_interval
    off = 0.05 * (interval.high - interval.low)
    np.testing.assert_allclose((found.low[0], found.high[0]), interval, atol=off)


def test_means_ignore_missing_values() -> None:
    values = np.random.default_rng(0).random((3, 9))
    values[1, [2, 5]] = np.nan
    values[2] = np.nan
    np.testing.assert_allclose(means(values[:2])[:, 0], np.nanmean(values[:2], axis=1))
    left = leave_one_out_means(values)
    for i in range(9):
        wanted = np.nanmean(np.delete(values[:2], i, axis=1), axis=1)
        np.testing.assert_allclose(left[:2, i], wanted)
    assert np.isnan(means(values)[2]).all() and np.isnan(left[2]).all()


def test_replicates_are_means_of_drawn_images(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((2, 7))
    values[1, 3] = np.nan
    few = Resampling(seed=8, replicates=50)
    found = resampled_means(values, few)
    drawn = np.random.default_rng(8).integers(7, size=(50, 7))
    for row, replicate in zip(drawn, found.T, strict=True):
        np.testing.assert_allclose(replicate, np.nanmean(values[:, row], axis=1))
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 30)
    np.testing.assert_array_equal(resampled_means(values, few), found)


def test_separate_values_are_resampled_identically() -> None:
    values = np.random.default_rng(0).random((4, 30))
    together = resampled_means(values, Resampling())
    separate = np.concatenate([resampled_means(v[None], Resampling()) for v in values])
    np.testing.assert_allclose(together, separate, rtol=1e-12)


def test_equal_values_give_a_point_and_never_nan() -> None:
    found = estimate(np.full((1, 20), 0.1), identity, Resampling())
    assert found.low[0] == found.high[0] == pytest.approx(0.1)
    # Never a value but once: almost every replicate lies on one side.
    rare = np.zeros((1, 50))
    rare[0, 7] = 1.0
    found = estimate(rare, identity, Resampling())
    assert 0 <= found.low[0] <= 0.02 <= found.high[0] <= 0.2
    # All replicates on one side: no bias can be had.
    assert bca_interval(0.0, np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0]), 0.95) == (
        pytest.approx(1.05),
        pytest.approx(2.95),
    )


def test_one_image_has_no_interval() -> None:
    for values in ([[0.3]], [[0.3, np.nan, np.nan]]):
        found = estimate(np.array(values), identity, Resampling())
        assert found.point[0] == 0.3
        assert np.isnan(found.low[0]) and np.isnan(found.high[0])
    none = estimate(np.empty((1, 0)), identity, Resampling())
    assert np.isnan([none.point[0], none.low[0], none.high[0]]).all()


def test_intervals_depend_on_the_seed_only_slightly(skewed: np.ndarray) -> None:
    first, again, other = (
        estimate(skewed[None], identity, Resampling(seed=seed)) for seed in (1, 1, 2)
    )
    assert first.low[0] == again.low[0] and first.high[0] == again.high[0]
    assert first.low[0] != other.low[0]
    assert other.low[0] == pytest.approx(first.low[0], abs=0.01)


def test_more_confidence_is_wider(skewed: np.ndarray) -> None:
    ends = [estimate(skewed[None], identity, Resampling(c)) for c in (0.8, 0.95, 0.99)]
    widths = [float(e.high[0] - e.low[0]) for e in ends]
    assert widths == sorted(widths)


# 1,000 datasets: the standard error of a coverage of 95 % is 0.7 percentage points.
@pytest.mark.parametrize("name", ["mean, beta(0.4, 2)", "ADCC of means"])
def test_intervals_have_their_nominal_coverage(name: str) -> None:
    assert 0.93 <= coverage(name, images=100, times=1000) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("images", [100, 1000])
@pytest.mark.parametrize("name", ["mean, exponential", "mean, beta(0.4, 2)", "ADCC of means"])
def test_intervals_have_their_nominal_coverage_in_4000_datasets(name: str, images: int) -> None:
    assert 0.93 <= coverage(name, images, times=4000, replicates=2000) <= 0.97


def test_widths_shrink_with_the_root_of_the_images() -> None:
    values = explained(np.random.default_rng(2), 4000)
    found = interval_widths(values, adcc_of_means, Resampling())
    assert list(found) == [500, 1000, 2000, 4000]
    for size, width in found.items():
        assert width[0] == pytest.approx(found[4000][0] * np.sqrt(4000 / size), rel=0.2)
    enough = required_sample_size(found[500][0], 500, wanted=found[4000][0])
    assert enough == pytest.approx(4000, rel=0.4)
    assert required_sample_size(0.04, 100, 0.01) == 1600
    for images, sizes in ((41, [10, 20, 41]), (5, [5]), (1, [])):
        assert list(interval_widths(values[:, :images], adcc_of_means, Resampling())) == sizes
