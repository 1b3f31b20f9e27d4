"""Prediction-powered inference: cheap values of all images, and exact values of a few.

The mean of the cheap values is corrected by the differences on the images that have both values,
so that the estimate is right on average, whatever the cheap values are.

* Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Prediction-powered inference, Science 382, 2023.
* Angelopoulos, Duchi and Zrnic, PPI++: Efficient prediction-powered inference, arXiv:2311.01453,
  2023 (the weight of the cheap values is tuned, which is the regression estimator of sampling).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adcc_onnx.statistics.resampling import RealArray

# Maps means [K, R] to F statistics of each of the R datasets, [F, R].
StatisticsFunction = Callable[[RealArray], RealArray]


def tuned_weights(cheap: RealArray, exact: RealArray) -> RealArray:
    """Compute the weights of the cheap values that make the corrected means vary least.

    Args:
        cheap: Cheap values of n images, [K, n].
        exact: Exact values of the same images, [K, n]; NaN for images that have none.

    Returns:
        The weights, [K], in [0, 1]: 1 where both values vary together, and 0 where the cheap ones
        are useless.

    Example:
        >>> exact = np.array([[0.1, 0.5, 0.9, np.nan]])
        >>> tuned_weights(np.array([[0.2, 0.6, 1.0, 0.4]]), exact).tolist()
        [1.0]
    """
    weights = np.zeros(len(cheap))
    for row, (one, other) in enumerate(zip(cheap, exact, strict=True)):
        both = ~np.isnan(one + other)
        if both.sum() > 1 and np.ptp(one[both]) > 0:
            (variance, covariance), _ = np.cov(one[both], other[both])
            weights[row] = np.clip(covariance / variance, 0.0, 1.0)
    return weights


def with_anchors(cheap: RealArray, exact: RealArray) -> RealArray:
    """Arrange cheap and exact values for `corrected_means`.

    Args:
        cheap: Cheap values of n images, [K, n]; NaN where an image has none.
        exact: Exact values of the same images, [K, n]; NaN for images that have none.

    Returns:
        The cheap values of all images, and the cheap and the exact values of the images that have
        both, [3 K, n]. Their means can be resampled like those of any values.
    """
    both = ~np.isnan(cheap + exact).any(axis=0)
    return np.concatenate([cheap, np.where(both, cheap, np.nan), np.where(both, exact, np.nan)])


def corrected_means(means: RealArray, weights: RealArray) -> RealArray:
    """Correct the means of cheap values.

    Args:
        means: Means of the values that `with_anchors` returns, [3 K, R].
        weights: Weights of the cheap values, [K]; see `tuned_weights`.

    Returns:
        The corrected means, [K, R].

    Example:
        >>> corrected_means(np.array([[0.5], [0.6], [0.7]]), np.ones(1)).round(3).tolist()
        [[0.6]]
    """
    cheap, anchors, exact = np.split(means, 3)
    found: RealArray = exact + weights[:, None] * (cheap - anchors)
    return found
