"""Datasets drawn from known distributions: coverage of intervals, and false positives of tests.

`python -m helpers.simulations` prints the tables of docs/concepts/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.metrics.adcc_family import harmonic_mean
from adcc_onnx.statistics.intervals import estimate
from adcc_onnx.statistics.paired_tests import holm_correction, permutation_p_values
from adcc_onnx.statistics.resampling import Resampling

Sampler = Callable[[np.random.Generator, int], NDArray[np.float64]]


def adcc_of_means(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute ADCC from the means of drop, coherency and complexity: [3, R] to [1, R]."""
    return harmonic_mean(means[1], 1.0 - means[2], 1.0 - means[0])[None]


def identity(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means as they are."""
    return means


def explained(rng: np.random.Generator, images: int) -> NDArray[np.float64]:
    """Draw drop, coherency and complexity, [3, n]: skewed and dependent, as those of real methods.

    Images with a larger drop have a lower coherency (rank correlation about -0.5).
    """
    hard = rng.beta(1.0, 1.0, images)
    drop = np.where(rng.random(images) < 0.25, 0.0, rng.beta(0.5 + hard, 2.0))
    coherency = 1.0 - rng.beta(0.6 + hard, 6.0)
    return np.stack([drop, coherency, rng.beta(3.0, 6.0, images)])


# Name -> sampler of values [K, n], and function from means [K, R] to scores [1, R].
CASES: dict[str, tuple[Sampler, Callable[..., NDArray[np.float64]]]] = {
    "mean, exponential": (lambda rng, n: rng.exponential(size=(1, n)), identity),
    "mean, beta(0.4, 2)": (lambda rng, n: rng.beta(0.4, 2.0, (1, n)), identity),
    "mean, lognormal": (lambda rng, n: rng.lognormal(size=(1, n)), identity),
    "ADCC of means": (explained, adcc_of_means),
}


# Expected values of the sampled values, [K]. With h uniform in [0, 1], the mean of beta(a + h, b)
# is the integral of (a + h) / (a + b + h), which is 1 - b log((a + b + 1) / (a + b)).
EXPECTATIONS: dict[str, list[float]] = {
    "mean, exponential": [1.0],
    "mean, beta(0.4, 2)": [1 / 6],
    "mean, lognormal": [np.exp(0.5)],
    "ADCC of means": [0.75 * (1 - 2 * np.log(3.5 / 2.5)), 6 * np.log(7.6 / 6.6), 1 / 3],
}


def true_score(name: str) -> float:
    """Compute the score of infinitely many images."""
    _, score = CASES[name]
    return float(score(np.array(EXPECTATIONS[name])[:, None])[0, 0])


def coverage(name: str, images: int, times: int, replicates: int = 1000) -> float:
    """Measure the fraction of datasets whose 95 % interval contains the true score."""
    sample, score = CASES[name]
    rng, wanted, covered = np.random.default_rng(7), true_score(name), 0
    for seed in range(times):
        found = estimate(sample(rng, images), score, Resampling(seed=seed, replicates=replicates))
        covered += bool(found.low[0] <= wanted <= found.high[0])
    return covered / times


def false_positive_rate(methods: int, images: int, times: int, all_pairs: bool) -> float:
    """Measure how often any of equally good methods differs significantly from the best at 5 %."""
    rng, positives = np.random.default_rng(11), 0
    for seed in range(times):
        values = [explained(rng, images) for _ in range(methods)]
        scores = [adcc_of_means(v.mean(axis=1)[:, None])[0, 0] for v in values]
        best = values.pop(int(np.argmax(scores)))
        resampling = Resampling(seed=seed, permutations=999)
        p = permutation_p_values(best, np.array(values), lambda m: adcc_of_means(m)[0], resampling)
        hypotheses = methods * (methods - 1) // 2 if all_pairs else None
        positives += bool((holm_correction(p, hypotheses) < 0.05).any())
    return positives / times


def table() -> str:
    """Format the tables of docs/concepts/statistics.md."""
    lines = ["| score | n = 30 | n = 100 | n = 1000 |", "| --- | --- | --- | --- |"]
    for name in CASES:
        shares = [f"{coverage(name, n, 4000, 2000):.1%}" for n in (30, 100, 1000)]
        lines.append(f"| {' | '.join([name, *shares])} |")
    lines += ["", "| pairs in Holm's correction | false positives |", "| --- | --- |"]
    for pairs, all_pairs in (("with the best", False), ("all", True)):
        lines.append(f"| {pairs} | {false_positive_rate(6, 100, 2000, all_pairs):.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
