"""Which method is best by a figure, and which cannot be told apart from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.score_columns import Score
from adcc_onnx.statistics.paired_tests import holm_correction, permutation_p_values
from adcc_onnx.statistics.resampling import Resampling, means


@dataclass(frozen=True)
class Entry:
    """What is ranked: a method, or a method on one of several models.

    Attributes:
        name: unique among those ranked.
        images: what tells the images apart, [n], each once.
        values: by metric, [n]; NaN where an image has none.
    """

    name: str
    images: NDArray[Any]
    values: Mapping[str, Float64Array]


@dataclass(frozen=True)
class Ranking:
    """Methods by a figure.

    Attributes:
        figure: what ranks them.
        order: the best first; those without a figure are last.
        p: of each with a figure against the best, corrected by Holm for all pairs.
    """

    score: Score
    order: list[str]
    p: dict[str, float]

    @property
    def best(self) -> str:
        return self.order[0]

    def not_told_apart(self, confidence: float) -> list[str]:
        """Those that may well be as good as the best."""
        return [name for name in self.order if self.p.get(name, 0.0) >= 1.0 - confidence]


def rank(entries: Sequence[Entry], score: Score, resampling: Resampling) -> Ranking | None:
    """Rank by a figure, with paired tests against the best; None where none has the figure."""
    values = aligned(entries, score.columns)
    found = np.array([score.of(means(one))[0] for one in values])
    order = np.argsort(-score.sign * found, kind="stable")  # NaN is last
    count = int((~np.isnan(found)).sum())
    if not count:
        return None
    # The data choose the best, so any pair might have been tested: Holm counts them all.
    pairs = count * (count - 1) // 2
    needed = math.ceil(2 * pairs / (1.0 - resampling.confidence))
    enough = replace(resampling, permutations=max(resampling.permutations, needed))
    p = holm_correction(
        permutation_p_values(values[order[0]], values[order[1:count]], score.of, enough), pairs
    )
    names = [entries[i].name for i in order]
    return Ranking(score, names, dict(zip(names[1:count], p.tolist(), strict=True)))


def aligned(entries: Sequence[Entry], columns: Sequence[str]) -> Float64Array:
    """The values of all entries on the images that any of them has, [M, K, n]; NaN for none."""
    images = np.unique(np.concatenate([entry.images for entry in entries]))
    values = np.full((len(entries), len(columns), len(images)), np.nan)
    for rows, entry in zip(values, entries, strict=True):
        places = np.searchsorted(images, entry.images)
        for row, name in zip(rows, columns, strict=True):
            if name in entry.values:
                row[places] = entry.values[name]
    return values
