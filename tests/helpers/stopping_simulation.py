"""Runs with a stopping rule on per-image values of real models, in many random orders at once.

`python -m helpers.stopping_simulation FOLDER` prints the table of docs/concepts/stopping.md.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.stopping_rule import StoppingRule, looks
from adcc_onnx.statistics.confidence_sequences import (
    effective_counts,
    log_evidence,
    two_sided_radius,
)
from adcc_onnx.statistics.prefix_estimates import (
    IMAGINARY_PAIRED_IMAGES,
    gradient,
    prefix_estimates,
    prefix_moments,
)
from helpers.simulations import adcc_of_means

PARTS = ("average_drop", "coherency", "complexity")
CONTROLS = ("center", "fakecam", "random")
_CHUNK, _LOOKS = 100, 20  # orders, and looks, that are simulated at once


def adcc_of_parts(means: Float64Array) -> Float64Array:
    """ADCC of means of the parts, [3, R]: [R]."""
    scores: Float64Array = adcc_of_means(means)[0]
    return scores


def read_values(path: Path) -> tuple[list[str], Float64Array]:
    """Read the parts of ADCC of M methods on n images, [M, 3, n], with the methods' names."""
    rows = list(csv.DictReader(path.open()))
    methods = sorted({row["method"] for row in rows})
    values = np.full((len(methods), 3, 1 + max(int(row["image"]) for row in rows)), np.nan)
    for row in rows:
        values[methods.index(row["method"]), :, int(row["image"])] = [float(row[k]) for k in PARTS]
    return methods, values


@dataclass(frozen=True)
class Outcomes:
    """What became of O runs.

    Attributes:
        images: Number of images at the end, [O].
        candidates: Methods that may be the best at the end, [O, M].
        dropped_at: Number of images at which each method or control was dropped, [O, M]; the
            number at the end for others.
        wrong: Whether any verdict is wrong, [O].
    """

    images: Any
    candidates: Any
    dropped_at: Any
    wrong: Any


def simulate(
    values: Float64Array, controls: Any, rule: StoppingRule, orders: int, seed: int = 0
) -> Outcomes:
    """Run an evaluation with `--until certain` in many random orders.

    Args:
        values: Values of M methods and controls on N images, [M, 3, N].
        controls: Which of them are controls, bool [M].
        rule: The stopping rule.
        orders: Number of orders O.
        seed: Seed of the orders.
    """
    rng = np.random.default_rng(seed)
    population = values.shape[2]
    found = [
        _Runs(values, controls, rule, min(_CHUNK, orders - start), rng, population).outcomes()
        for start in range(0, orders, _CHUNK)
    ]
    return Outcomes(*(np.concatenate(part) for part in zip(*found, strict=True)))


class _Runs:
    """Several runs at once; see `SequentialComparison` for the rules."""

    def __init__(
        self, values: Float64Array, controls: Any, rule: StoppingRule, orders: int,
        rng: np.random.Generator, population: int,
    ) -> None:  # fmt: skip
        self.values, self.controls, self.rule = values, np.asarray(controls), rule
        self.population = population
        self.scores = adcc_of_parts(values.mean(axis=2).T)
        self.orders = np.argsort(rng.random((orders, population)), axis=1)
        methods = int((~self.controls).sum())
        self.threshold = math.log(max(1, methods - 1 + self.controls.sum()) / rule.alpha)
        self.candidates = np.repeat(~self.controls[None], orders, axis=0)
        self.resolved = np.zeros((orders, len(values)), bool)
        self.wrong = np.zeros(orders, bool)
        self.images = np.full(orders, population)
        self.dropped_at = np.full((orders, len(values)), population)
        shape = (orders, len(values), len(values))
        self.better, self.near = np.full(shape, -np.inf), np.full(shape, -np.inf)

    def outcomes(self) -> tuple[Any, ...]:
        """Follow all runs to their end."""
        running = np.ones(len(self.orders), bool)
        for count, point, deviation in self._estimates():
            with np.errstate(divide="ignore", invalid="ignore"):
                effective = effective_counts(count, self.population)
                for evidence, by in ((self.better, 0.0), (self.near, -self.rule.margin)):
                    found = log_evidence((point - by) / deviation, effective)
                    np.maximum(evidence, found, out=evidence, where=running[:, None, None])
            self._judge(running, count)
            running &= self.images == self.population
            if not running.any():
                break
        self._check()
        return self.images, self.candidates, self.dropped_at, self.wrong

    def _judge(self, running: Any, count: int) -> None:
        beaten = self.better >= self.threshold
        close = self.near >= self.threshold
        worse = (beaten & self.candidates[:, :, None]).any(axis=1) & self.candidates
        dropped = running[:, None] & worse
        self.candidates &= ~dropped
        outside = ~self.candidates
        below = (beaten | outside[:, :, None]).all(axis=1)
        above = (beaten | outside[:, None, :]).all(axis=2)
        both = close & np.swapaxes(close, 1, 2)
        equal = (both | outside[:, :, None]).all(axis=1)
        new = running[:, None] & self.controls & ~self.resolved & (below | above | equal)
        # The first verdict counts, and it must be true of the best method.
        best = self.scores[~self.controls].max()
        false = np.where(below, self.scores > best, np.where(above, self.scores < best,
                         np.abs(self.scores - best) > self.rule.margin))  # fmt: skip
        self.wrong |= (new & false).any(axis=1)
        self.resolved |= new
        self.dropped_at[dropped | new] = count
        same = np.eye(len(self.values), dtype=bool)
        equivalent = (close | same | outside[:, None, :]).all(axis=2) | outside
        done = equivalent.all(axis=1) & (self.resolved | ~self.controls).all(axis=1)
        self.images[running & done] = count
        assert self.candidates.any(axis=1).all(), "no method is left"

    def _check(self) -> None:
        """A run is wrong if the best method is gone, or if it keeps one that is not equivalent."""
        best = self.scores[~self.controls].max()
        kept = np.where(self.candidates, self.scores, -np.inf)
        self.wrong |= kept.max(axis=1) < best
        early = self.images < self.population
        self.wrong |= early & (np.where(self.candidates, self.scores, np.inf).min(axis=1)
                               < best - self.rule.margin)  # fmt: skip
        end = np.broadcast_to(self.images[:, None], self.dropped_at.shape)
        np.minimum(self.dropped_at, end, out=self.dropped_at)

    def _estimates(self) -> Iterator[tuple[int, Float64Array, Float64Array]]:
        """Iterate over looks: the count, differences and deviations of all pairs, [O, M, M]."""
        counts = list(looks(self.population))
        methods = len(self.values)
        flat = self.values.reshape(3 * methods, -1)
        drawn = np.moveaxis(flat[:, self.orders], 0, 1)
        for start in range(0, len(counts), _LOOKS):
            part = counts[: start + _LOOKS]
            means, covariances = prefix_moments(drawn[..., : part[-1]], part)
            means, covariances = means[:, start:], covariances[:, start:]
            yield from self._of_looks(part[start:], means, covariances)

    def _of_looks(
        self, counts: list[int], means: Float64Array, covariances: Float64Array
    ) -> Iterator[tuple[int, Float64Array, Float64Array]]:
        orders, number, methods = len(means), len(counts), len(self.values)
        parts = means.reshape(orders, number, methods, 3)
        slopes = gradient(adcc_of_parts, parts)
        scores = adcc_of_parts(parts.reshape(-1, 3).T).reshape(parts.shape[:-1])
        blocks = covariances.reshape(orders, number, methods, 3, methods, 3)
        shared = np.einsum("olmi,olminj,olnj->olmn", slopes, blocks, slopes, optimize=True)
        own = np.einsum("olmm->olm", shared)
        spans = np.abs(slopes).sum(axis=-1)
        largest = np.maximum(spans[..., :, None], spans[..., None, :])
        for at, count in enumerate(counts):
            variance = own[:, at, :, None] + own[:, at, None, :] - 2.0 * shared[:, at]
            variance = np.maximum(0.0, variance)
            variance += IMAGINARY_PAIRED_IMAGES * largest[:, at] ** 2 / count
            yield count, scores[:, at, :, None] - scores[:, at, None, :], np.sqrt(variance)


def interval_misses(
    values: Float64Array, widths: Sequence[float], orders: int, alpha: float = 0.05, seed: int = 0
) -> tuple[dict[float, float], dict[float, float], float]:
    """How often the confidence sequence of ADCC misses the score of the whole dataset.

    Args:
        values: Values of one method on N images, [3, N].
        widths: Widths at which runs stop.
        orders: Number of random orders.
        alpha: Error probability of the sequence.
        seed: Seed of the orders.

    Returns:
        For each width, the fraction of runs whose last interval misses, and the median number of
        images; and the fraction of runs in which the interval misses at any look.
    """
    rng, population = np.random.default_rng(seed), values.shape[1]
    counts = np.array(list(looks(population)))
    radius = two_sided_radius(effective_counts(counts, population), alpha)
    truth = adcc_of_parts(values.mean(axis=1)[:, None])[0]
    missed: list[Any] = []
    ends: dict[float, list[Any]] = {width: [] for width in widths}
    for start in range(0, orders, _CHUNK):
        chosen = np.argsort(rng.random((min(_CHUNK, orders - start), population)), axis=1)
        drawn = np.moveaxis(values[:, chosen], 0, 1)
        found = prefix_estimates(drawn, adcc_of_parts, counts, np.ones(3))
        half = found.deviation * radius
        missed.append(np.abs(found.point - truth) > half + 1e-12)
        for width in widths:
            ends[width].append((2.0 * half <= width).argmax(axis=1))
    misses, rows = np.concatenate(missed), np.arange(orders)
    at = {width: np.concatenate(end) for width, end in ends.items()}
    return (
        {width: float(misses[rows, end].mean()) for width, end in at.items()},
        {width: float(np.median(counts[end])) for width, end in at.items()},
        float(misses.any(axis=1).mean()),
    )


def main() -> None:
    """Print the tables of the three models."""
    print("| model | methods | median images | 90 % below | wrong |")
    print("| --- | --- | --- | --- | --- |")
    for path in sorted(Path(sys.argv[1]).glob("*.csv")):
        methods, values = read_values(path)
        for chosen in (methods, *PAIRS[path.stem]):
            at = [methods.index(name) for name in chosen]
            controls = [name in CONTROLS and len(chosen) > 2 for name in chosen]
            found = simulate(values[at], controls, StoppingRule(), int(sys.argv[2]))
            low, high = np.quantile(found.images, (0.5, 0.9))
            print(
                f"| {path.stem} | {', '.join(chosen)} | {low:.0f} | {high:.0f} | "
                f"{100 * found.wrong.mean():.2f} % |",
                flush=True,
            )

    print("| model | method | " + " | ".join(f"width {w}" for w in WIDTHS) + " | any look |")
    print("| --- | --- " + "| --- " * (len(WIDTHS) + 1) + "|")
    for path in sorted(Path(sys.argv[1]).glob("*.csv")):
        for method, columns in zip(*read_values(path), strict=True):
            misses, images, ever = interval_misses(columns, WIDTHS, int(sys.argv[2]))
            cells = (f"{100 * misses[w]:.2f} % ({images[w]:.0f})" for w in WIDTHS)
            print(f"| {path.stem} | {method} | {' | '.join(cells)} | {100 * ever:.2f} % |")


WIDTHS = (0.02, 0.05, 0.1, 0.2)
# Pairs of methods whose difference is known to be hard or easy to find.
PAIRS = {
    "mobilenet_v2": [("gradcam", "gradcam++"), ("gradcam", "center"), ("gradcam", "eigengradcam")],
    "bvlc_googlenet": [("gradcam", "gradcam++"), ("layercam", "gradcam++")],
    "deit_tiny_patch16_224": [("center", "gradcam"), ("eigengradcam", "gradcam++")],
}

if __name__ == "__main__":
    main()
