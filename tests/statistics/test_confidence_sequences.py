"""Asymptotic confidence sequences, against numerical integrals and simulated random walks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.simulations import adcc_of_means, explained
from scipy import integrate, stats

from adcc_onnx.statistics.confidence_sequences import (
    PRECISION,
    effective_counts,
    log_evidence,
    tuned_precision,
    two_sided_radius,
)
from adcc_onnx.statistics.prefix_estimates import (
    gradient,
    paired_prefix_estimates,
    prefix_estimates,
    prefix_moments,
)
from adcc_onnx.statistics.sequential_estimates import AsymptoticEstimate, Looks


def adcc(means: np.ndarray) -> np.ndarray:
    return adcc_of_means(means)[0]


@pytest.mark.parametrize(("z", "n"), [(0.0, 30.0), (0.2, 100.0), (-0.1, 400.0), (1.0, 20.0)])
def test_evidence_is_the_mixture_over_normal_bets(z: float, n: float) -> None:
    """A bet b on the sum s of n standardized values wins exp(b s - b^2 n / 2)."""
    s, scale = z * n, math.sqrt(PRECISION)

    def won(bet: float) -> float:
        return 2 * stats.norm.pdf(bet, 0, scale) * math.exp(bet * s - bet * bet * n / 2)

    mixture, _ = integrate.quad(won, 0, 12 * scale)
    assert log_evidence(z, n) == pytest.approx(math.log(mixture), abs=1e-6)


def test_the_interval_ends_where_the_two_sided_mixture_reaches_the_level() -> None:
    n, alpha, scale = 150.0, 0.05, math.sqrt(PRECISION)
    s = float(two_sided_radius(n, alpha)) * n

    def won(bet: float) -> float:
        return stats.norm.pdf(bet, 0, scale) * math.exp(bet * s - bet * bet * n / 2)

    mixture, _ = integrate.quad(won, -12 * scale, 12 * scale)
    assert mixture == pytest.approx(1 / alpha, rel=1e-6)


def test_the_precision_makes_the_boundary_tightest_at_its_count() -> None:
    def radius(precision: float) -> float:
        scale = 100 * precision + 1
        return math.sqrt(2 * scale * math.log(math.sqrt(scale) / 0.05) / (100**2 * precision))

    best = tuned_precision(0.05, 100)
    assert best == PRECISION
    assert all(radius(best) < radius(best * factor) for factor in (0.5, 0.8, 1.25, 2.0))


def test_all_images_give_an_exact_answer() -> None:
    assert effective_counts(10, 10) == np.inf
    assert log_evidence([0.1, -0.1, 0.0], np.inf).tolist() == [np.inf, -np.inf, -np.inf]
    assert two_sided_radius(np.inf, 0.05) == 0


@pytest.mark.parametrize("population", [400, 10**9])
def test_random_walks_rarely_leave_the_boundary(population: int) -> None:
    """Sums of normal values, drawn without replacement from the population if it is small."""
    rng = np.random.default_rng(3)
    drawn = rng.standard_normal((4000, 400))
    if population == 400:
        drawn -= drawn.mean(axis=1, keepdims=True)
        drawn /= drawn.std(axis=1, keepdims=True)
    counts = np.arange(1, 400)
    means = drawn.cumsum(axis=1)[:, :-1] / counts
    effective = effective_counts(counts, population)
    crossed = (log_evidence(means, effective) >= math.log(20)).any(axis=1).mean()
    outside = (np.abs(means) > two_sided_radius(effective, 0.05)).any(axis=1).mean()
    limit = stats.binom.ppf(0.999, 4000, 0.05) / 4000
    assert 0.005 < crossed < limit
    assert 0.005 < outside < limit


def test_moments_of_prefixes() -> None:
    values = explained(np.random.default_rng(0), 60)
    means, covariances = prefix_moments(values, [2, 25, 60])
    for at, count in enumerate((2, 25, 60)):
        assert means[at] == pytest.approx(values[:, :count].mean(axis=1), abs=1e-12)
        assert covariances[at] == pytest.approx(np.cov(values[:, :count]), abs=1e-12)
    several = np.stack([values, values[:, ::-1]])
    assert prefix_moments(several, [2, 25, 60])[1][0] == pytest.approx(covariances, abs=1e-12)


def test_the_gradient_of_adcc() -> None:
    """d 3 / (1/a + 1/b + 1/c) / d a = adcc^2 / (3 a^2)."""
    drop, coherency, complexity = means = np.array([0.2, 0.9, 0.4])
    squared = adcc(means[:, None])[0] ** 2 / 3
    expected = [
        -squared / (1 - drop) ** 2,
        squared / coherency**2,
        -squared / (1 - complexity) ** 2,
    ]
    assert gradient(adcc, means) == pytest.approx(expected, abs=1e-8)


def test_the_deviation_is_that_of_the_jackknife() -> None:
    """The delta method, against leave-one-out scores; the imaginary images are subtracted."""
    rng, n = np.random.default_rng(1), 5000
    first, second = explained(rng, n), explained(rng, n)

    def jackknife(*methods: np.ndarray) -> float:
        sums = [method.sum(axis=1, keepdims=True) - method for method in methods]
        scores = [adcc(one / (n - 1)) for one in sums]
        gaps = scores[0] - (scores[1] if len(scores) > 1 else 0)
        return float((n - 1) * gaps.std())

    single = prefix_estimates(first, adcc, [n], np.zeros(3))
    assert single.point[0] == pytest.approx(adcc(first.mean(axis=1)[:, None])[0])
    assert single.deviation[0] == pytest.approx(jackknife(first), rel=1e-3)
    paired = paired_prefix_estimates(first, second, adcc, [n], np.zeros(3))
    assert paired.deviation[0] == pytest.approx(jackknife(first, second), rel=1e-3)


def test_equal_methods_are_not_proven_equal_by_a_few_images() -> None:
    values = explained(np.random.default_rng(2), 400)
    looks = Looks(np.array([20, 400]), np.full(2, 10_000.0))
    found = paired_prefix_estimates(values, values, adcc, looks.counts, np.ones(3))
    evidence = AsymptoticEstimate(found, looks).evidence(-0.005)
    assert evidence[0] < 0 < math.log(20) < evidence[1]
