"""Sample size: width of the confidence intervals as a function of the number of images."""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.statistics.intervals import StatisticsFunction, estimate
from adcc_onnx.statistics.resampling import RealArray, Resampling

# Subsets hold 1/8, 1/4, 1/2 and all of the images.
_DIVISORS = (8, 4, 2, 1)
# Intervals of fewer images are too rough to compare.
_MIN_IMAGES = 10


def interval_widths(
    values: RealArray, statistics: StatisticsFunction, resampling: Resampling
) -> dict[int, RealArray]:
    """Measure the interval widths on an eighth, a quarter, half and all of the images.

    The subsets are nested and drawn once at random. Subsets of fewer than ten images are left out,
    and so is the whole dataset if it has fewer than two.

    Args:
        values: Values of n images, [K, n]; NaN where an image has no value.
        statistics: Function from means [K, R] to statistics [F, R].
        resampling: Confidence level, seed and number of replicates.

    Returns:
        The widths [F] by the number of images, in increasing order.

    Example:
        >>> values = np.random.default_rng(0).random((1, 80))
        >>> found = interval_widths(values, lambda means: means, Resampling(replicates=200))
        >>> list(found), bool(found[10][0] > found[80][0])
        ([10, 20, 40, 80], True)
    """
    images = values.shape[1]
    shuffled = values[:, np.random.default_rng(resampling.seed).permutation(images)]
    found = {}
    for size in dict.fromkeys(images // divisor for divisor in _DIVISORS):
        if size >= _MIN_IMAGES or 1 < size == images:
            subset = estimate(shuffled[:, :size], statistics, resampling)
            found[size] = subset.high - subset.low
    return found


def required_sample_size(width: float, images: int, wanted: float) -> int:
    """Extrapolate how many images reach an interval width: widths shrink as 1 / sqrt(n).

    Args:
        width: Width of the interval on `images` images.
        images: Number of images that gave `width`.
        wanted: Width to reach, above 0.

    Returns:
        The number of images, at least two (one image has no interval).

    Example:
        >>> required_sample_size(0.04, 100, 0.01)
        1600
    """
    return max(2, math.ceil(images * (width / wanted) ** 2))
