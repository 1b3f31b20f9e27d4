"""Estimates of functions of means after several numbers of images, with their variances.

A function of means is linearized at the means so far (the delta method): an image contributes the
product of the function's gradient and the image's deviations from the means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.statistics.resampling import RealArray

# Maps means [K, R] to one statistic of each of the R datasets, [R].
StatisticFunction = Callable[[RealArray], RealArray]

# An image that contributes as much as possible may not have been seen yet: the variance includes so
# many imaginary images of this kind. Two methods differ less than their scores vary.
IMAGINARY_IMAGES, IMAGINARY_PAIRED_IMAGES = 1.0, 0.05

_STEP = 1e-6  # of the numerical derivative of a statistic


@dataclass(frozen=True)
class PrefixEstimates:
    """Estimates of a statistic from the first n images, for L numbers n.

    Attributes:
        point: The statistic, [..., L].
        deviation: Standard deviation of the contribution of one image, [..., L].
    """

    point: RealArray
    deviation: RealArray


def prefix_estimates(
    values: RealArray,
    statistic: StatisticFunction,
    counts: Sequence[int] | NDArray[np.int64],
    spans: RealArray,
) -> PrefixEstimates:
    """Estimate a statistic from the first images, for several numbers of images.

    Args:
        values: Values of n images, [..., K, n], without NaN.
        statistic: Function from means [K, R] to statistics [R].
        counts: The numbers of images, [L], increasing, at least 2 and at most n.
        spans: Largest possible difference between two values, [K].

    Returns:
        The estimates. The variance includes one imaginary image that contributes as much as is
        possible, so that a few similar images do not seem to prove that all are similar.

    Example:
        >>> values = np.array([[0.0, 1.0, 0.5, 0.5]])
        >>> found = prefix_estimates(values, lambda means: means[0], [2, 4], np.ones(1))
        >>> found.point.tolist(), found.deviation.round(3).tolist()
        ([0.5, 0.5], [1.0, 0.645])
    """
    means, covariances = prefix_moments(values, counts)
    slopes = gradient(statistic, means)
    largest = (np.abs(slopes) * spans).sum(axis=-1)
    variance = _variance(slopes, covariances) + IMAGINARY_IMAGES * largest**2 / np.asarray(counts)
    return PrefixEstimates(_apply(statistic, means), np.sqrt(variance))


def paired_prefix_estimates(
    first: RealArray,
    second: RealArray,
    statistic: StatisticFunction,
    counts: Sequence[int] | NDArray[np.int64],
    spans: RealArray,
) -> PrefixEstimates:
    """Estimate the difference of two methods' statistics from the first images.

    Args:
        first: Values of the first method, [..., K, n], without NaN.
        second: Values of the second method on the same images, [..., K, n].
        statistic: Function from means [K, R] to statistics [R].
        counts: The numbers of images, [L], increasing, at least 2 and at most n.
        spans: Largest possible difference between two values, [K].

    Returns:
        The statistic of the first method minus that of the second one. The variance includes a
        twentieth of an imaginary image on which one method has the best values and the other one
        the worst. So two methods that are equal on a few images are not thought to be equal always.

    Example:
        >>> first, second = np.array([[0.5, 0.6, 0.7]]), np.array([[0.1, 0.2, 0.3]])
        >>> found = paired_prefix_estimates(first, second, lambda means: means[0], [3], np.ones(1))
        >>> found.point.round(3), found.deviation.round(3)
        (array([0.4]), array([0.129]))
    """
    return contrast_prefix_estimates([(1.0, first), (-1.0, second)], statistic, counts, spans)


def contrast_prefix_estimates(
    parts: Sequence[tuple[float, RealArray]],
    statistic: StatisticFunction,
    counts: Sequence[int] | NDArray[np.int64],
    spans: RealArray,
) -> PrefixEstimates:
    """Estimate a weighted sum of the statistics of several methods from the first images.

    Args:
        parts: The weight and the values of each method on the same n images, [..., K, n] each,
            without NaN. The weights should sum to 0.
        statistic: Function from means [K, R] to statistics [R].
        counts: The numbers of images, [L], increasing, at least 2 and at most n.
        spans: Largest possible difference between two values, [K].

    Returns:
        The weighted sum; its variance includes a twentieth of an imaginary image, as in
        `paired_prefix_estimates`.
    """
    columns = parts[0][1].shape[-2]
    stacked = np.concatenate([values for _, values in parts], axis=-2)
    means, covariances = prefix_moments(stacked, counts)
    own = [means[..., at : at + columns] for at in range(0, means.shape[-1], columns)]
    slopes = [
        weight * gradient(statistic, one) for (weight, _), one in zip(parts, own, strict=True)
    ]
    largest = np.max([(np.abs(slope) * spans).sum(axis=-1) for slope in slopes], axis=0)
    variance = _variance(np.concatenate(slopes, axis=-1), covariances)
    variance += IMAGINARY_PAIRED_IMAGES * largest**2 / np.asarray(counts)
    values = [weight * _apply(statistic, one) for (weight, _), one in zip(parts, own, strict=True)]
    return PrefixEstimates(np.sum(values, axis=0), np.sqrt(variance))


def prefix_moments(
    values: RealArray, counts: Sequence[int] | NDArray[np.int64]
) -> tuple[RealArray, RealArray]:
    """Compute means and covariances of the first images, for several numbers of images.

    Args:
        values: Values of n images, [..., K, n], without NaN.
        counts: The numbers of images, [L], increasing, at least 2 and at most n.

    Returns:
        The means, [..., L, K], and the unbiased covariances, [..., L, K, K].
    """
    center = values.mean(axis=-1, keepdims=True)
    rows = np.swapaxes(values - center, -1, -2)
    sums, products = [], []
    total, product = np.zeros(()), np.zeros(())
    for start, stop in zip([0, *counts], counts, strict=False):
        part = rows[..., start:stop, :]
        total = total + part.sum(axis=-2)
        product = product + np.matmul(np.swapaxes(part, -1, -2), part)
        sums.append(total)
        products.append(product)
    n = np.asarray(counts, np.float64)[:, None]
    means = np.stack(sums, axis=-2) / n
    outer = means[..., :, None] * means[..., None, :]
    n = n[..., None]
    covariances = (np.stack(products, axis=-3) - n * outer) / (n - 1.0)
    return means + np.swapaxes(center, -1, -2), covariances


def gradient(statistic: StatisticFunction, means: RealArray) -> RealArray:
    """Differentiate a statistic with respect to the means, numerically.

    Args:
        statistic: Function from means [K, R] to statistics [R].
        means: The means, [..., K].

    Returns:
        The derivatives, [..., K].

    Example:
        >>> gradient(lambda means: means[0] * means[1], np.array([2.0, 3.0])).round(6).tolist()
        [3.0, 2.0]
    """
    steps = _STEP * np.eye(means.shape[-1])
    above, below = (_apply(statistic, means[..., None, :] + sign * steps) for sign in (1.0, -1.0))
    slopes: RealArray = (above - below) / (2.0 * _STEP)
    return slopes


def _apply(statistic: StatisticFunction, means: RealArray) -> RealArray:
    return statistic(means.reshape(-1, means.shape[-1]).T).reshape(means.shape[:-1])


def _variance(slopes: RealArray, covariances: RealArray) -> RealArray:
    variance = np.einsum("...k,...kl,...l->...", slopes, covariances, slopes)
    found: RealArray = np.maximum(0.0, variance)
    return found
