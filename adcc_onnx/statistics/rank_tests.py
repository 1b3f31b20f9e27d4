"""Mean ranks of methods over images, and the critical difference of the Nemenyi test.

Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, Journal of Machine Learning
Research 7, 2006, section 3.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.statistics.resampling import RealArray


@dataclass(frozen=True)
class MeanRanks:
    """Mean ranks of M methods over n images; rank 1 is the best.

    Attributes:
        ranks: The mean ranks, [M].
        images: Number of images n.
        critical_difference: Smallest difference of two mean ranks that is statistically
            significant for all pairs together.
        groups: Maximal groups of methods whose mean ranks differ by less than the critical
            difference, as indices, the best method first. Groups of one are left out.
    """

    ranks: RealArray
    images: int
    critical_difference: float
    groups: list[list[int]]


def mean_ranks(values: RealArray, confidence: float) -> MeanRanks:
    """Rank methods on each image, and test their mean ranks against each other.

    Args:
        values: Value of each method on each image, [M, n]; higher is better. Equal values share
            their mean rank.
        confidence: Confidence level of the test, in (0, 1).

    Returns:
        The mean ranks.

    Example:
        >>> values = np.array([[0.9, 0.8, 0.9], [0.5, 0.6, 0.9], [0.1, 0.2, 0.3]])
        >>> mean_ranks(values, 0.95).ranks.round(3).tolist()
        [1.167, 1.833, 3.0]
    """
    from scipy.stats import rankdata, studentized_range

    methods, images = values.shape
    ranks: RealArray = rankdata(-values, axis=0).mean(axis=1)
    quantile = float(studentized_range.ppf(confidence, methods, np.inf)) / np.sqrt(2.0)
    critical = float(quantile * np.sqrt(methods * (methods + 1) / (6.0 * images)))
    return MeanRanks(ranks, images, critical, _groups(ranks, critical))


def _groups(ranks: RealArray, critical: float) -> list[list[int]]:
    order = np.argsort(ranks, kind="stable").tolist()
    groups: list[list[int]] = []
    for start, first in enumerate(order):
        group = [i for i in order[start:] if ranks[i] - ranks[first] < critical]
        if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
            groups.append(group)
    return groups
