"""Differences between all pairs of methods, and the mean ranks of the methods over the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.ranking import MethodValues, align_images
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.statistics.paired_tests import (
    PairedDifference,
    holm_correction,
    paired_difference,
    pairwise_differences,
    pairwise_p_values,
    permutation_p_values,
)
from adcc_onnx.statistics.rank_tests import MeanRanks, mean_ranks
from adcc_onnx.statistics.resampling import Resampling


@dataclass(frozen=True)
class Pairwise:
    """All pairs of M methods compared by one score.

    Attributes:
        names: Names of the methods, in the order given.
        differences: Difference of each pair (i, j), i < j: the score of i minus that of j.
        p_values: P-value of each pair, Holm-corrected for all pairs.
    """

    names: list[str]
    differences: dict[tuple[int, int], PairedDifference]
    p_values: dict[tuple[int, int], float]


def compare_pairs(
    methods: Sequence[MethodValues], score: Score, resampling: Resampling
) -> Pairwise:
    """Compare every pair of methods by paired permutation tests.

    Args:
        methods: Values of the methods; each has the score for at least one image.
        score: The score to compare by.
        resampling: Settings of the intervals and tests; permutations are added where Holm's
            correction needs smaller p-values than they can give.

    Returns:
        The differences with their intervals and p-values.
    """
    values = align_images(methods, score.columns)
    pairs = list(combinations(range(len(methods)), 2))
    needed = math.ceil(2 * len(pairs) / (1.0 - resampling.confidence))
    refined = replace(resampling, permutations=max(resampling.permutations, needed))
    known = np.logical_not(np.isnan(values).any(axis=1))
    shared = np.flatnonzero(known.all(axis=0))
    if len(shared) == known.any(axis=0).sum():
        complete = values[:, :, shared]
        p_values = pairwise_p_values(complete, score.from_means, refined).tolist()
        differences = pairwise_differences(complete, score.from_means, resampling)
    else:
        p_values = [_p_value(values[i], values[j], score, refined) for i, j in pairs]
        differences = [score_difference(values[i], values[j], score, resampling) for i, j in pairs]
    corrected = holm_correction(np.array(p_values)).tolist()
    return Pairwise(
        [method.name for method in methods],
        dict(zip(pairs, differences, strict=True)),
        dict(zip(pairs, corrected, strict=True)),
    )


def rank_images(
    methods: Sequence[MethodValues], score: Score, resampling: Resampling
) -> MeanRanks | None:
    """Rank the methods on each image by its own value, and average the ranks.

    Args:
        methods: Values of the methods.
        score: The score; the per-image value of its metric ranks the methods.
        resampling: Settings with the confidence level.

    Returns:
        The mean ranks with their critical difference; None if fewer than two methods or images
        have values.
    """
    values = score.sign * align_images(methods, score.columns[:1])[:, 0]
    complete = values[:, ~np.isnan(values).any(axis=0)]
    if complete.shape[0] < 2 or complete.shape[1] < 2:
        return None
    return mean_ranks(complete, resampling.confidence)


def _p_value(one: Float64Array, other: Float64Array, score: Score, resampling: Resampling) -> float:
    return float(permutation_p_values(one, other[None], score.from_means, resampling)[0])


def score_difference(
    one: Float64Array, other: Float64Array, score: Score, resampling: Resampling
) -> PairedDifference:
    """Compute the difference of a score on the images that have all values of both methods.

    Args:
        one: Values of a method, [K, n]; NaN where an image has none.
        other: Values of the other method on the same images, [K, n].
        score: The score.
        resampling: Settings of the interval.

    Returns:
        The score of `one` minus that of `other`, with its interval.
    """
    both = ~np.isnan(one - other).any(axis=0)
    return paired_difference(one[:, both], other[:, both], score.from_means, resampling)
