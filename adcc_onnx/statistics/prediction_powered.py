"""Prediction-powered inference: cheap values of all images, and exact values of a few.

The mean of the cheap values is corrected by the differences on the images that have both values,
so that the estimate is right on average, whatever the cheap values are.

* Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Prediction-powered inference, Science 382, 2023.
* Angelopoulos, Duchi and Zrnic, PPI++: Efficient prediction-powered inference, arXiv:2311.01453,
  2023 (the weight of the cheap values is tuned).
* Cochran, Sampling Techniques, Wiley 1977, section 12.6 (the regression estimator in two-phase
  sampling, which the tuned estimate is).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.statistics.intervals import StatisticsFunction
from adcc_onnx.statistics.jackknife import Spread, jackknife_spread
from adcc_onnx.statistics.resampling import RealArray, leave_one_out_means

_ROWS = 5  # of `with_anchors` for each value
# A variance this much smaller than the square of a mean is a rounding error.
_SMALLEST_VARIANCE = 1e-14


def with_anchors(cheap: RealArray, exact: RealArray) -> RealArray:
    """Arrange cheap and exact values for `corrected_means`.

    Args:
        cheap: Cheap values of n images, [K, n]; NaN where an image has none.
        exact: Exact values of the same images, [K, n]; NaN for images that have none.

    Returns:
        Five blocks of K rows, [5 K, n]. The first block has the cheap values of all images. The
        others are NaN except for images with both values, and have the cheap values, the exact
        values, the squares of the cheap values, and the products.
    """
    both = ~np.isnan(cheap + exact).any(axis=0)
    anchors, known = np.where(both, cheap, np.nan), np.where(both, exact, np.nan)
    return np.concatenate([cheap, anchors, known, anchors**2, anchors * known])


def tuned_weights(means: RealArray) -> RealArray:
    """Compute the weights of the cheap values that make the corrected means vary least.

    Args:
        means: Means of the values that `with_anchors` returns, [5 K, R].

    Returns:
        The weights in [0, 1], [K, R], slopes of the regressions of the exact on the cheap values,
        and 0 where the cheap ones are useless.

    Example:
        >>> values = with_anchors(
        ...     np.array([[0.2, 0.6, 1.0, 0.4]]), np.array([[0.1, 0.5, 0.9, np.nan]])
        ... )
        >>> tuned_weights(np.nanmean(values, axis=1, keepdims=True)).round(9).tolist()
        [[1.0]]
    """
    _, cheap, exact, squares, products = np.split(means, _ROWS)
    variance, covariance = squares - cheap**2, products - cheap * exact
    varies = variance > _SMALLEST_VARIANCE * squares
    slopes = np.divide(covariance, variance, out=np.zeros_like(variance), where=varies)
    found: RealArray = np.clip(slopes, 0.0, 1.0)
    return found


def corrected_means(means: RealArray) -> RealArray:
    """Correct the means of cheap values, with weights that are tuned for each dataset.

    Args:
        means: Means of the values that `with_anchors` returns, [5 K, R].

    Returns:
        The corrected means, [K, R].

    Example:
        >>> corrected_means(np.array([[0.5], [0.6], [0.7], [0.4], [0.46]])).round(3).tolist()
        [[0.6]]
    """
    cheap, anchors, exact, _, _ = np.split(means, _ROWS)
    found: RealArray = exact + tuned_weights(means) * (cheap - anchors)
    return found


def corrected_spread(
    values: RealArray, statistics: StatisticsFunction, anchors: NDArray[np.bool_]
) -> Spread:
    """Estimate the standard errors of statistics of corrected means.

    The images with and those without an exact value are two independent samples. The weights are
    tuned again without each image, so that their own uncertainty counts, too.

    Args:
        values: Values that `with_anchors` returns, for one or several methods, [K, n].
        statistics: Function from means [K, R] to statistics [F, R].
        anchors: Which images have exact values, [n].
    """
    without = statistics(leave_one_out_means(values))
    return jackknife_spread([without[:, anchors], without[:, ~anchors]], [2, 1])
