"""The order of methods by a score, with paired significance tests against the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.rows import StoredRun
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.statistics.paired_tests import holm_correction, permutation_p_values
from adcc_onnx.statistics.resampling import Resampling, means


@dataclass(frozen=True)
class MethodValues:
    """The per-image values of a method, or of a method on one of several models.

    Attributes:
        name: Name that is unique among the methods that are ranked together.
        images: Positions or names that identify the images, [n], without duplicates.
        values: Values of each metric, [n]; NaN where an image has none.
    """

    name: str
    images: NDArray[Any]
    values: Mapping[str, Float64Array]


@dataclass(frozen=True)
class Ranking:
    """Methods in the order of a score.

    Attributes:
        score: The score that ranks the methods.
        order: Names of the methods, the best first; methods without the score come last.
        p_values: Holm-corrected p-value of each method with the score against the best.
    """

    score: Score
    order: list[str]
    p_values: dict[str, float]

    @property
    def best(self) -> str:
        """Name of the best method."""
        return self.order[0]

    @property
    def pairs(self) -> int:
        """Number of pairs of methods, which is the number of hypotheses that Holm corrects for."""
        return len(self.p_values) * (len(self.p_values) + 1) // 2

    def smallest_p_value(self, images: int) -> float:
        """Return the smallest corrected p-value that a difference on some images can have.

        Args:
            images: Number of images n. Of the 2^n signs of n differences, the observed ones and
                their opposite are always as extreme.
        """
        return min(1.0, max(1, self.pairs) * 2.0 ** (1 - images))

    def not_significantly_worse(self, confidence: float) -> list[str]:
        """Return the methods whose difference from the best is not statistically significant.

        Args:
            confidence: Confidence level of the test, in (0, 1).

        Returns:
            Names of the methods, the best of them first.
        """
        return [name for name in self.order if self.p_values.get(name, 0.0) >= 1.0 - confidence]


def rank(methods: Sequence[MethodValues], score: Score, resampling: Resampling) -> Ranking | None:
    """Rank methods by a score, with paired permutation tests against the best.

    Args:
        methods: Values of the methods.
        score: The score to rank by.
        resampling: Settings of the tests; permutations are added where Holm's correction needs
            smaller p-values than they can give.

    Returns:
        The ranking; None if no method has the score.
    """
    values = align_images(methods, score.columns)
    found = np.array([score.from_means(means(one))[0] for one in values])
    order = np.argsort(-score.sign * found, kind="stable")  # NaN comes last.
    count = int((~np.isnan(found)).sum())
    if not count:
        return None
    # The data choose the best method, so any pair might have been tested: Holm counts them all.
    pairs = count * (count - 1) // 2
    needed = math.ceil(2 * pairs / (1.0 - resampling.confidence))
    refined = replace(resampling, permutations=max(resampling.permutations, needed))
    p_values = holm_correction(
        permutation_p_values(values[order[0]], values[order[1:count]], score.from_means, refined),
        pairs,
    )
    names = [methods[i].name for i in order]
    return Ranking(score, names, dict(zip(names[1:count], p_values.tolist(), strict=True)))


def method_values(run: StoredRun) -> list[MethodValues]:
    """Return the values of a run's methods, in the order of the run."""
    return [
        MethodValues(name, found.positions, found.values) for name, found in run.methods.items()
    ]


def align_images(methods: Sequence[MethodValues], columns: Sequence[str]) -> Float64Array:
    """Arrange the values of M methods on the n images that any of them has.

    Args:
        methods: Values of the methods.
        columns: Names of the K values.

    Returns:
        The values, [M, K, n]; NaN where a method has no value for an image.
    """
    images = np.unique(np.concatenate([method.images for method in methods]))
    values = np.full((len(methods), len(columns), len(images)), np.nan)
    for rows, method in zip(values, methods, strict=True):
        places = np.searchsorted(images, method.images)
        for row, name in zip(rows, columns, strict=True):
            if name in method.values:
                row[places] = method.values[name]
    return values
