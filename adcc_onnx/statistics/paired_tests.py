"""Two methods on the same images: the difference, its interval, and a permutation p-value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adcc_onnx.statistics.intervals import ROUNDING_TOLERANCE, Interval, estimate
from adcc_onnx.statistics.resampling import RealArray, Resampling, block_sizes

StatisticFunction = Callable[[RealArray], RealArray]


@dataclass(frozen=True)
class PairedDifference:
    """The figure of the first less that of the second.

    Attributes:
        images: how many both have.
        value: NaN without images.
        interval: of the difference; None with fewer than two images.
    """

    images: int
    value: float
    interval: Interval | None


def paired_difference(
    first: RealArray, second: RealArray, statistic: StatisticFunction, resampling: Resampling
) -> PairedDifference:
    """Compare two methods image by image.

    Args:
        first, second: values of the same images in the same order, [K, n]; no NaN.
        figure: from means [K, R] to figures [R].
        resampling: how.
    """
    count, images = first.shape

    def differences(found: RealArray) -> RealArray:
        return (statistic(found[:count]) - statistic(found[count:]))[None]

    found = estimate(np.concatenate([first, second]), differences, resampling)
    interval = None if images < 2 else (float(found.low[0]), float(found.high[0]))
    return PairedDifference(images, float(found.point[0]), interval)


def permutation_p_values(
    first: RealArray, others: RealArray, statistic: StatisticFunction, resampling: Resampling
) -> RealArray:
    """How often swapping the first with another at random, image by image, differs as much.

    All values of an image are swapped together, and the figures are taken of the swapped data sets.
    Two-sided; Ernst, Permutation Methods, Statistical Science 19(4), 2004. p = (1 + #) / (1 + P):
    the 1 is for the data as they are (Phipson and Smyth, SAGMB 9(1), 2010).

    Args:
        first: values of n images, [K, n]; NaN where an image has none.
        others: the same of M others, [M, K, n]. Only images on which both have all K count.
        figure, resampling: as for `difference`.

    Returns:
        The p-value of "the two are exchangeable" of each, [M]; 1 where they have no image.
    """
    if not len(others):
        return np.empty(0)
    paired = ~np.isnan(others - first).any(axis=1, keepdims=True)
    images = paired.sum(axis=2)
    per_image = 1.0 / np.maximum(images, 1)
    here = (np.where(paired, first, 0.0).sum(axis=2) * per_image)[:, :, None]
    there = (np.where(paired, others, 0.0).sum(axis=2) * per_image)[:, :, None]
    apart = np.where(paired, others - first, 0.0) * per_image[:, :, None]

    def differences(moved: RealArray) -> RealArray:
        """Of the figures of each pair, after the means have moved towards each other."""
        rows = zip(here + moved, there - moved, strict=True)
        return np.array([np.abs(statistic(one) - statistic(other)) for one, other in rows])

    observed = differences(np.zeros_like(here))
    least = observed - ROUNDING_TOLERANCE * np.maximum(1.0, observed)
    extreme = np.zeros(len(others))
    rng = np.random.default_rng(resampling.seed)
    for rows in block_sizes(resampling.permutations, first.shape[1]):
        swapped = rng.integers(2, size=(rows, first.shape[1]), dtype=np.int8).astype(np.float64)
        extreme += (differences(apart @ swapped.T) >= least).sum(axis=1)
    p: RealArray = np.where(images[:, 0] > 0, (1 + extreme) / (1 + resampling.permutations), 1.0)
    return p


def holm_correction(p: RealArray, hypotheses: int | None = None) -> RealArray:
    """p-values [m] adjusted so that the chance of any false rejection stays below the level.

    Holm, Scandinavian Journal of Statistics 6, 1979.

    Args:
        p: the p-values.
        hypotheses: how many could have been tested, where data chose these m of them; m if None.
    """
    count = len(p) if hypotheses is None else hypotheses
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (count - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
