"""How many images are enough: the width of the interval against their number."""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.statistics.intervals import StatisticsFunction, estimate
from adcc_onnx.statistics.resampling import RealArray, Resampling

_PARTS = (8, 4, 2, 1)
# Intervals of fewer are too rough to be held against others.
_FEWEST = 10


def interval_widths(
    values: RealArray, statistics: StatisticsFunction, resampling: Resampling
) -> dict[int, RealArray]:
    """The widths [F] of the figures' intervals on an eighth, a quarter, half and all of the images.

    Each part holds the ones before it; which images it holds is drawn once. Parts of fewer than ten
    images are left out, and all of them where there are fewer than two.

    Args:
        values, figures, resampling: as for `estimate`.

    Returns:
        By the number of images.
    """
    images = values.shape[1]
    shuffled = values[:, np.random.default_rng(resampling.seed).permutation(images)]
    found = {}
    for size in dict.fromkeys(images // part for part in _PARTS):
        if size >= _FEWEST or 1 < size == images:
            part = estimate(shuffled[:, :size], statistics, resampling)
            found[size] = part.high - part.low
    return found


def required_sample_size(width: float, images: int, wanted: float) -> int:
    """About how many images bring an interval to the width `wanted`: widths go as 1/sqrt(n).

    Two at least, without which there is no interval.

    Args:
        width: of the interval on `images` images.
        images: how many there are.
        wanted: the width to come to, above 0.
    """
    return max(2, math.ceil(images * (width / wanted) ** 2))
