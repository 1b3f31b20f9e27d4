"""Bootstrap intervals: percentile and BCa.

Efron and Tibshirani, An Introduction to the Bootstrap, Chapman & Hall 1993, chapters 13 and 14.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adcc_onnx.statistics.resampling import (
    RealArray,
    Resampling,
    leave_one_out_means,
    means,
    resampled_means,
)

StatisticsFunction = Callable[[RealArray], RealArray]
Interval = tuple[float, float]

# Equal sums in another order differ by rounding: figures so close, of fractions, are equal.
ROUNDING_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Estimates:
    """Figures and their intervals, [F] each.

    Attributes:
        figures: NaN where no image counts.
        low, high: NaN where fewer than two images count.
    """

    point: RealArray
    low: RealArray
    high: RealArray


def estimate(
    values: RealArray, statistics: StatisticsFunction, resampling: Resampling
) -> Estimates:
    """The figures of a data set with their BCa intervals.

    Args:
        values: of n images, [K, n]; NaN where an image has none.
        figures: from means [K, R] to figures [F, R].
        resampling: how.
    """
    found = statistics(means(values))[:, 0]
    none = np.full_like(found, np.nan)
    if values.shape[1] < 2:
        return Estimates(found, none, none)
    replicates = statistics(resampled_means(values, resampling))
    jackknife = statistics(leave_one_out_means(values))
    ends = np.array(
        [
            bca_interval(*one, resampling.confidence)
            for one in zip(found, replicates, jackknife, strict=True)
        ]
    ).reshape(-1, 2)
    return Estimates(found, ends[:, 0], ends[:, 1])


def percentile_interval(replicates: RealArray, confidence: float) -> Interval:
    """The middle share `confidence` of the replicates [R] (chapter 13); NaN ones do not count."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(replicates, (tail, 1.0 - tail))
    return float(low), float(high)


def bca_interval(
    statistic: float, replicates: RealArray, jackknife: RealArray, confidence: float
) -> Interval:
    """The percentiles that bias and acceleration call for (chapter 14.3).

    Args:
        figure: of the data set.
        replicates: of resampled data sets, [R]; NaN where no image with a value was drawn.
        jackknife: of the data set without each image in turn, [n].
        confidence: the nominal coverage.

    Returns:
        (low, high). The percentile interval where all replicates lie on one side of the figure;
        (NaN, NaN) where the figure hangs on one image: then its jackknife holds NaN.
    """
    from scipy.special import ndtr, ndtri

    if np.isnan(jackknife).any():
        return np.nan, np.nan
    sound = replicates[~np.isnan(replicates)]
    margin = ROUNDING_TOLERANCE * max(1.0, abs(statistic))
    if np.all(np.abs(sound - statistic) <= margin):
        return float(statistic), float(statistic)
    bias = ndtri(((sound < statistic - margin).mean() + (sound <= statistic + margin).mean()) / 2.0)
    if not np.isfinite(bias):
        return percentile_interval(sound, confidence)
    tail = (1.0 - confidence) / 2.0
    shifted = bias + ndtri((tail, 1.0 - tail))
    stretch = 1.0 - _acceleration(jackknife) * shifted
    if np.any(stretch <= 0):
        return percentile_interval(sound, confidence)
    low, high = np.quantile(sound, ndtr(bias + shifted / stretch))
    return float(low), float(high)


def _acceleration(jackknife: RealArray) -> float:
    """A sixth of the skewness of the jackknife influence (equation 14.15)."""
    influence = jackknife.mean() - jackknife
    power = (influence**2).sum()
    # Influences of rounding alone have no skewness.
    if power <= (ROUNDING_TOLERANCE**2) * len(influence):
        return 0.0
    return float((influence**3).sum() / (6.0 * power**1.5))
