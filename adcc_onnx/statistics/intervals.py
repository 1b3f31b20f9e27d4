"""Bootstrap confidence intervals: percentile and BCa (bias-corrected and accelerated).

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

# Maps means [K, R] to the F statistics of each of the R datasets, [F, R].
StatisticsFunction = Callable[[RealArray], RealArray]
# Lower and upper end of a confidence interval.
Interval = tuple[float, float]

# Sums of equal terms in another order differ by rounding: statistics this close count as equal.
ROUNDING_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Estimates:
    """Point estimates of F statistics and their confidence intervals.

    Attributes:
        point: Point estimates, [F]; NaN where no image has a value.
        low: Lower ends of the intervals, [F]; NaN with fewer than two images.
        high: Upper ends of the intervals, [F]; NaN with fewer than two images.
    """

    point: RealArray
    low: RealArray
    high: RealArray


def estimate(
    values: RealArray, statistics: StatisticsFunction, resampling: Resampling
) -> Estimates:
    """Estimate statistics of a dataset with their BCa confidence intervals.

    Args:
        values: Values of n images, [K, n]; NaN where an image has no value.
        statistics: Function from means [K, R] to statistics [F, R].
        resampling: Confidence level, seed and number of replicates.

    Returns:
        The F point estimates and intervals.

    Example:
        >>> drops = np.random.default_rng(0).random((1, 200))
        >>> found = estimate(drops, lambda means: means, Resampling(seed=1))
        >>> bool(found.low[0] < found.point[0] < found.high[0])
        True
    """
    point = statistics(means(values))[:, 0]
    missing = np.full_like(point, np.nan)
    if values.shape[1] < 2:
        return Estimates(point, missing, missing)
    replicates = statistics(resampled_means(values, resampling))
    jackknife = statistics(leave_one_out_means(values))
    ends = np.array(
        [
            bca_interval(*row, resampling.confidence)
            for row in zip(point, replicates, jackknife, strict=True)
        ]
    ).reshape(-1, 2)
    return Estimates(point, ends[:, 0], ends[:, 1])


def percentile_interval(replicates: RealArray, confidence: float) -> Interval:
    """Compute the percentile bootstrap interval (chapter 13).

    Args:
        replicates: Bootstrap replicates of a statistic, [R]; NaN replicates are ignored.
        confidence: Confidence level, in (0, 1).

    Returns:
        Lower and upper end.

    Example:
        >>> low, high = percentile_interval(np.arange(101.0), 0.9)
        >>> round(low, 9), round(high, 9)
        (5.0, 95.0)
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(replicates, (tail, 1.0 - tail))
    return float(low), float(high)


def bca_interval(
    statistic: float, replicates: RealArray, jackknife: RealArray, confidence: float
) -> Interval:
    """Compute the BCa bootstrap interval of a statistic (chapter 14.3).

    Args:
        statistic: Statistic of the dataset.
        replicates: Statistic of the resampled datasets, [R]; NaN where every drawn image lacks a
            value.
        jackknife: Statistic of the dataset without each of the n images, [n].
        confidence: Confidence level, in (0, 1).

    Returns:
        Lower and upper end. The percentile interval where all replicates lie on one side of the
        statistic; (NaN, NaN) where the statistic depends on a single image, so that its jackknife
        holds NaN.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sample = rng.exponential(size=50)
        >>> replicates = rng.choice(sample, (1000, 50)).mean(axis=1)
        >>> jackknife = (sample.sum() - sample) / 49
        >>> low, high = bca_interval(sample.mean(), replicates, jackknife, 0.95)
        >>> bool(low < sample.mean() < high)
        True
    """
    from scipy.special import ndtr, ndtri

    if np.isnan(jackknife).any():
        return np.nan, np.nan
    finite = replicates[~np.isnan(replicates)]
    margin = ROUNDING_TOLERANCE * max(1.0, abs(statistic))
    if np.all(np.abs(finite - statistic) <= margin):
        return float(statistic), float(statistic)
    below, not_above = finite < statistic - margin, finite <= statistic + margin
    bias = ndtri((below.mean() + not_above.mean()) / 2.0)
    if not np.isfinite(bias):
        return percentile_interval(finite, confidence)
    tail = (1.0 - confidence) / 2.0
    shifted = bias + ndtri((tail, 1.0 - tail))
    stretch = 1.0 - _acceleration(jackknife) * shifted
    if np.any(stretch <= 0):
        return percentile_interval(finite, confidence)
    low, high = np.quantile(finite, ndtr(bias + shifted / stretch))
    return float(low), float(high)


def _acceleration(jackknife: RealArray) -> float:
    """Compute a sixth of the skewness of the jackknife influence values (equation 14.15)."""
    influence = jackknife.mean() - jackknife
    power = (influence**2).sum()
    # Influence values that are rounding errors have no meaningful skewness.
    if power <= (ROUNDING_TOLERANCE**2) * len(influence):
        return 0.0
    return float((influence**3).sum() / (6.0 * power**1.5))
