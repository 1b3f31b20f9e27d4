"""Paired comparison of methods: difference with interval, permutation test, Holm correction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.statistics.intervals import ROUNDING_TOLERANCE, Interval, estimate
from adcc_onnx.statistics.resampling import RealArray, Resampling, block_sizes

# Maps means [K, R] to one statistic of each of the R datasets, [R].
StatisticFunction = Callable[[RealArray], RealArray]


@dataclass(frozen=True)
class PairedDifference:
    """Difference between the scores of two methods on the same images.

    Attributes:
        images: Number of images that both methods have values for.
        value: Score of the first method minus that of the second; NaN without images.
        interval: Confidence interval of the difference; None with fewer than two images.
    """

    images: int
    value: float
    interval: Interval | None


def paired_difference(
    first: RealArray, second: RealArray, statistic: StatisticFunction, resampling: Resampling
) -> PairedDifference:
    """Estimate the difference of two methods' scores, resampling whole images.

    Args:
        first: Values of the first method, [K, n], without NaN.
        second: Values of the second method on the same images in the same order, [K, n].
        statistic: Function from means [K, R] to scores [R].
        resampling: Confidence level, seed and number of replicates.

    Returns:
        The difference with its BCa interval.

    Example:
        >>> better, worse = np.array([[0.8, 0.9, 0.7]]), np.array([[0.5, 0.6, 0.4]])
        >>> found = paired_difference(better, worse, lambda means: means[0], Resampling())
        >>> found.images, round(found.value, 6)
        (3, 0.3)
    """
    count, images = first.shape

    def differences(pair_means: RealArray) -> RealArray:
        return (statistic(pair_means[:count]) - statistic(pair_means[count:]))[None]

    found = estimate(np.concatenate([first, second]), differences, resampling)
    interval = None if images < 2 else (float(found.low[0]), float(found.high[0]))
    return PairedDifference(images, float(found.point[0]), interval)


def paired_differences(
    values: Sequence[RealArray], statistics: Sequence[StatisticFunction], resampling: Resampling
) -> list[PairedDifference]:
    """Estimate the differences of several scores of two methods, all on the same resampled images.

    Args:
        values: For each score, the values of the two methods on the same n images, [2, K, n],
            without NaN.
        statistics: For each score, the function from means [K, R] to scores [R].
        resampling: Confidence level, seed and number of replicates.

    Returns:
        For each score, the second method's minus the first one's, with its BCa interval.

    Example:
        >>> one = np.array([[[0.5, 0.6, 0.4]], [[0.8, 0.9, 0.7]]])
        >>> found = paired_differences([one, one], [lambda means: means[0]] * 2, Resampling())
        >>> [round(difference.value, 6) for difference in found]
        [0.3, 0.3]
    """
    counts = [one.shape[1] for one in values]
    ends = np.cumsum([2 * count for count in counts])
    images = values[0].shape[2]

    def differences(all_means: RealArray) -> RealArray:
        parts = np.split(all_means, ends[:-1])
        rows = zip(parts, counts, statistics, strict=True)
        return np.stack([s(part[count:]) - s(part[:count]) for part, count, s in rows])

    joined = np.concatenate([one.reshape(-1, images) for one in values])
    found = estimate(joined, differences, resampling)
    limits = zip(found.point.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
    return [
        PairedDifference(images, value, None if images < 2 else (low, high))
        for value, low, high in limits
    ]


def pairwise_differences(
    values: RealArray, statistic: StatisticFunction, resampling: Resampling
) -> list[PairedDifference]:
    """Estimate the differences of all pairs of methods, all on the same resampled images.

    Args:
        values: Values of M methods on the same n images, [M, K, n], without NaN.
        statistic: Function from means [K, R] to scores [R].
        resampling: Confidence level, seed and number of replicates.

    Returns:
        The difference of each pair (i, j), i < j, in the order of `itertools.combinations`.

    Example:
        >>> values = np.array([[[0.8, 0.9, 0.7]], [[0.5, 0.6, 0.4]], [[0.5, 0.5, 0.5]]])
        >>> found = pairwise_differences(values, lambda means: means[0], Resampling())
        >>> [round(one.value, 6) for one in found]
        [0.3, 0.3, 0.0]
    """
    methods, count, images = values.shape
    first, second = np.triu_indices(methods, 1)

    def differences(all_means: RealArray) -> RealArray:
        parts = all_means.reshape(methods, count, -1)
        scores = np.stack([statistic(part) for part in parts])
        gaps: RealArray = scores[first] - scores[second]
        return gaps

    found = estimate(values.reshape(methods * count, images), differences, resampling)
    ends = zip(found.point.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
    return [
        PairedDifference(images, value, None if images < 2 else (low, high))
        for value, low, high in ends
    ]


def pairwise_p_values(
    values: RealArray, statistic: StatisticFunction, resampling: Resampling
) -> RealArray:
    """Test all pairs of methods with the same paired permutations; see `permutation_p_values`.

    Swapping two methods on some images moves each mean by the difference of their sums over these
    images, so the sums of each method alone serve all of its pairs.

    Args:
        values: Values of M methods on the same n images, [M, K, n], without NaN.
        statistic: Function from means [K, R] to scores [R].
        resampling: Seed and number of permutations.

    Returns:
        The p-value of each pair (i, j), i < j, in the order of `itertools.combinations`.

    Example:
        >>> first = np.random.default_rng(0).random((1, 60))
        >>> values = np.stack([first, first + 0.2, first])
        >>> pairwise_p_values(values, lambda means: means[0], Resampling()).tolist()
        [0.0001, 1.0, 0.0001]
    """
    methods, _, images = values.shape
    first, second = np.triu_indices(methods, 1)
    all_means = values.mean(axis=2)[:, :, None]
    scores = np.stack([statistic(one)[0] for one in all_means])
    observed = np.abs(scores[first] - scores[second])
    threshold = observed - ROUNDING_TOLERANCE * np.maximum(1.0, observed)
    extreme = np.zeros(len(first))
    rng = np.random.default_rng(resampling.seed)
    for rows in block_sizes(resampling.permutations, images):
        swapped = rng.integers(2, size=(rows, images), dtype=np.int8).astype(np.float64)
        sums = (values.reshape(-1, images) @ swapped.T).reshape(*values.shape[:2], rows) / images
        for pair, (i, j) in enumerate(zip(first, second, strict=True)):
            shift = sums[j] - sums[i]
            gaps = np.abs(statistic(all_means[i] + shift) - statistic(all_means[j] - shift))
            extreme[pair] += (gaps >= threshold[pair]).sum()
    p: RealArray = (1 + extreme) / (1 + resampling.permutations)
    return p


def permutation_p_values(
    first: RealArray, others: RealArray, statistic: StatisticFunction, resampling: Resampling
) -> RealArray:
    """Test with paired permutations whether a method differs from each of several others.

    Each permutation swaps all values of the two methods on a random half of the images, and the
    statistic is computed on the swapped datasets. The test is two-sided (Ernst, Permutation
    Methods, Statistical Science 19(4), 2004). p = (1 + extreme) / (1 + permutations), where the 1
    stands for the observed data (Phipson and Smyth, SAGMB 9(1), 2010).

    Args:
        first: Values of the method on n images, [K, n]; NaN where an image has no value.
        others: Values of the M other methods on the same images, [M, K, n]. A pair is compared on
            the images for which both methods have all K values.
        statistic: Function from means [K, R] to scores [R].
        resampling: Seed and number of permutations.

    Returns:
        The p-value of the null hypothesis "the two methods are exchangeable" for each other
        method, [M]; 1 where a pair has no image in common.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> first = rng.random((1, 60))
        >>> others = np.stack([first + 0.2, first])
        >>> permutation_p_values(first, others, lambda means: means[0], Resampling()).tolist()
        [0.0001, 1.0]
    """
    if not len(others):
        return np.empty(0)
    paired = ~np.isnan(others - first).any(axis=1, keepdims=True)
    images = paired.sum(axis=2)
    per_image = 1.0 / np.maximum(images, 1)
    first_means = (np.where(paired, first, 0.0).sum(axis=2) * per_image)[:, :, None]
    other_means = (np.where(paired, others, 0.0).sum(axis=2) * per_image)[:, :, None]
    gaps = np.where(paired, others - first, 0.0) * per_image[:, :, None]

    def differences(shift: RealArray) -> RealArray:
        """Compute the absolute difference of each pair after the swaps shifted both means."""
        rows = zip(first_means + shift, other_means - shift, strict=True)
        return np.array([np.abs(statistic(one) - statistic(other)) for one, other in rows])

    observed = differences(np.zeros_like(first_means))
    threshold = observed - ROUNDING_TOLERANCE * np.maximum(1.0, observed)
    extreme = np.zeros(len(others))
    rng = np.random.default_rng(resampling.seed)
    for rows in block_sizes(resampling.permutations, first.shape[1]):
        swapped = rng.integers(2, size=(rows, first.shape[1]), dtype=np.int8).astype(np.float64)
        extreme += (differences(gaps @ swapped.T) >= threshold).sum(axis=1)
    p: RealArray = np.where(images[:, 0] > 0, (1 + extreme) / (1 + resampling.permutations), 1.0)
    return p


def holm_correction(p: RealArray, hypotheses: int | None = None) -> RealArray:
    """Adjust p-values for multiple testing: Holm's step-down control of the family-wise error.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
    Statistics 6, 1979.

    Args:
        p: The p-values, [m].
        hypotheses: Size of the family of hypotheses. Default: m. It is larger than m where the data
            decided which hypotheses are tested.

    Returns:
        The adjusted p-values, [m], in the order of `p`.

    Example:
        >>> holm_correction(np.array([0.04, 0.01, 0.03])).tolist()
        [0.06, 0.03, 0.06]
    """
    count = len(p) if hypotheses is None else hypotheses
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (count - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
