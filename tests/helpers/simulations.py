"""Data sets drawn from known distributions: how often intervals and tests are right.

`python -m helpers.simulations` prints the table of docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.metrics.adcc_family import harmonic_mean
from adcc_onnx.statistics.intervals import estimate
from adcc_onnx.statistics.paired_tests import holm_correction, permutation_p_values
from adcc_onnx.statistics.resampling import Resampling

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def adcc_of_means(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, R] (drop, coherency, complexity) to [1, R]."""
    return harmonic_mean(means[1], 1.0 - means[2], 1.0 - means[0])[None]


def mean_itself(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return means


def explained(rng: np.random.Generator, images: int) -> NDArray[np.float64]:
    """Drop, coherency and complexity, [3, n], as methods have them: skewed, and not independent.

    Images that lose more of their score have less coherent maps (ranks correlate by about -0.5).
    """
    hard = rng.beta(1.0, 1.0, images)
    drop = np.where(rng.random(images) < 0.25, 0.0, rng.beta(0.5 + hard, 2.0))
    coherency = 1.0 - rng.beta(0.6 + hard, 6.0)
    return np.stack([drop, coherency, rng.beta(3.0, 6.0, images)])


# By name: how it is drawn, and the figure.
CASES: dict[str, tuple[Draw, Callable[..., NDArray[np.float64]]]] = {
    "mean, exponential": (lambda rng, n: rng.exponential(size=(1, n)), mean_itself),
    "mean, beta(0.4, 2)": (lambda rng, n: rng.beta(0.4, 2.0, (1, n)), mean_itself),
    "mean, lognormal": (lambda rng, n: rng.lognormal(size=(1, n)), mean_itself),
    "ADCC of means": (explained, adcc_of_means),
}


def truth(name: str) -> float:
    """The figure of endlessly many images: within a thousandth of an interval's width."""
    draw, score = CASES[name]
    rng = np.random.default_rng(12345)
    sums = [draw(rng, 1_000_000).mean(axis=1) for _ in range(20)]
    return float(score(np.mean(sums, axis=0)[:, None])[0, 0])


def coverage(name: str, images: int, times: int, replicates: int = 1000) -> float:
    """The share of data sets whose 95 % interval holds the truth."""
    draw, score = CASES[name]
    rng, wanted, held = np.random.default_rng(7), truth(name), 0
    for seed in range(times):
        found = estimate(draw(rng, images), score, Resampling(seed=seed, replicates=replicates))
        held += bool(found.low[0] <= wanted <= found.high[0])
    return held / times


def false_alarms(methods: int, images: int, times: int, all_pairs: bool) -> float:
    """How often, among equally good methods, any is told apart from the best at 5 %."""
    rng, alarms = np.random.default_rng(11), 0
    for seed in range(times):
        values = [explained(rng, images) for _ in range(methods)]
        scores = [adcc_of_means(v.mean(axis=1)[:, None])[0, 0] for v in values]
        best = values.pop(int(np.argmax(scores)))
        how = Resampling(seed=seed, permutations=999)
        p = permutation_p_values(best, np.array(values), lambda m: adcc_of_means(m)[0], how)
        hypotheses = methods * (methods - 1) // 2 if all_pairs else None
        alarms += bool((holm_correction(p, hypotheses) < 0.05).any())
    return alarms / times


def table() -> str:
    """What docs/statistics.md shows."""
    lines = ["| figure | n = 30 | n = 100 | n = 1000 |", "| --- | --- | --- | --- |"]
    for name in CASES:
        shares = [f"{coverage(name, n, 4000, 2000):.1%}" for n in (30, 100, 1000)]
        lines.append(f"| {' | '.join([name, *shares])} |")
    lines += ["", "| pairs that Holm counts | false alarms |", "| --- | --- |"]
    for pairs, all_pairs in (("with the best", False), ("all", True)):
        lines.append(f"| {pairs} | {false_alarms(6, 100, 2000, all_pairs):.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
