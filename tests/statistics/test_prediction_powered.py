"""Estimates from cheap and exact values: unbiased, and with intervals of the nominal coverage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.simulations import adcc_of_means, explained
from helpers.stopping_simulation import read_values
from scipy import stats

from adcc_onnx.statistics.intervals import estimate
from adcc_onnx.statistics.paired_tests import jackknife_p_value
from adcc_onnx.statistics.prediction_powered import corrected_means, tuned_weights, with_anchors
from adcc_onnx.statistics.resampling import Resampling, leave_one_out_means, means


def cheapened(exact: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values of a cheap precision: shifted, noisy, and of another class on 2 % of the images."""
    cheap = exact - 0.02 + rng.normal(0, 0.02, exact.shape)
    flipped = rng.random(exact.shape[1]) < 0.02
    return np.clip(np.where(flipped, exact[:, rng.permutation(exact.shape[1])], cheap), 0, 1)


def hidden(exact: np.ndarray, anchors: int) -> np.ndarray:
    found = exact.copy()
    found[:, anchors:] = np.nan
    return found


def test_the_correction_is_the_regression_estimator() -> None:
    rng = np.random.default_rng(0)
    exact = explained(rng, 300)
    cheap = cheapened(exact, rng)
    known = hidden(exact, 80)
    weights = tuned_weights(cheap, known)
    for row in range(3):
        slope = stats.linregress(cheap[row, :80], exact[row, :80]).slope
        assert weights[row] == pytest.approx(min(slope, 1.0))
    found = corrected_means(means(with_anchors(cheap, known)), weights)[:, 0]
    gap = cheap.mean(axis=1) - cheap[:, :80].mean(axis=1)
    assert found == pytest.approx(exact[:, :80].mean(axis=1) + weights * gap)


def test_useless_cheap_values_are_not_used() -> None:
    rng = np.random.default_rng(1)
    exact, known = rng.random((2, 100)), np.full((2, 100), np.nan)
    known[:, :30] = exact[:, :30]
    cheap = np.stack([np.full(100, 0.5), -exact[1]])
    weights = tuned_weights(cheap, known)
    assert weights.tolist() == [0, 0]
    found = corrected_means(means(with_anchors(cheap, known)), weights)[:, 0]
    assert found == pytest.approx(exact[:, :30].mean(axis=1))


def test_equal_values_need_no_correction() -> None:
    exact = explained(np.random.default_rng(2), 200)
    known = hidden(exact, 20)
    found = corrected_means(means(with_anchors(exact, known)), tuned_weights(exact, known))
    assert found[:, 0] == pytest.approx(exact.mean(axis=1))


def test_images_without_a_value_do_not_count() -> None:
    exact = explained(np.random.default_rng(3), 50)
    cheap, known = exact + 0.1, hidden(exact, 20)
    cheap[1, 3] = np.nan
    stacked = with_anchors(cheap, known)
    assert np.isnan(stacked[3:, 3]).all()
    assert (~np.isnan(stacked[3:])).sum(axis=1).tolist() == [19] * 6


def coverage(
    population: np.ndarray, datasets: int, replicates: int, seed: int
) -> tuple[float, float]:
    """How often an interval holds ADCC of a population [3, N], and its relative width."""
    rng = np.random.default_rng(seed)
    truth = adcc_of_means(population.mean(axis=1)[:, None])[0, 0]
    held, widths = 0, []
    for number in range(datasets):
        exact = population[:, rng.integers(population.shape[1], size=400)]
        cheap = cheapened(exact, rng)
        stacked = with_anchors(cheap, hidden(exact, 100))
        weights = tuned_weights(cheap, hidden(exact, 100))

        def score(all_means: np.ndarray, weights: np.ndarray = weights) -> np.ndarray:
            return adcc_of_means(np.clip(corrected_means(all_means, weights), 0, 1))

        settings = Resampling(seed=number, replicates=replicates)
        found = estimate(stacked, score, settings)
        full = estimate(exact, adcc_of_means, settings)
        held += bool(found.low[0] <= truth <= found.high[0])
        widths.append((found.high - found.low)[0] / (full.high - full.low)[0])
    return held / datasets, float(np.median(widths))


def test_intervals_hold_the_exact_score() -> None:
    population = explained(np.random.default_rng(99), 100_000)
    held, width = coverage(population, 100, 300, seed=4)
    low, high = stats.binom.ppf((0.001, 0.999), 100, 0.95) / 100
    assert low <= held <= high
    assert 1.0 < width < 1.3


@pytest.mark.slow
@pytest.mark.parametrize("model", ["bvlc_googlenet", "deit_tiny_patch16_224", "mobilenet_v2"])
def test_intervals_hold_the_score_of_real_models(data: Path, model: str) -> None:
    methods, values = read_values(data / "per_image" / f"{model}.csv")
    for number, method in enumerate(("gradcam", "gradcam++", "eigencam")):
        held, width = coverage(values[methods.index(method)], 1500, 1000, seed=number)
        assert 0.93 <= held <= 0.97, (method, held)
        assert width < 1.3, (method, width)


def test_the_jackknife_test_is_that_of_a_mean() -> None:
    gaps = np.random.default_rng(6).normal(0.05, 1.0, (1, 500))
    found = jackknife_p_value(float(gaps.mean()), leave_one_out_means(gaps)[0])
    z = gaps.mean() / (gaps.std(ddof=1) / np.sqrt(500))
    assert found == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
    assert jackknife_p_value(0.0, np.zeros(5)) == 1
    assert jackknife_p_value(0.1, np.full(5, 0.1)) == 0
