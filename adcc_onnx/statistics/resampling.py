"""Bootstrap and jackknife resampling: means over resampled images, and leave-one-out means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64]

# Elements of a block of resampling counts, float64 [replicates, images]: about 8 MB.
_BLOCK_ELEMENTS = 1_000_000


@dataclass(frozen=True)
class Resampling:
    """Settings of the confidence intervals and permutation tests.

    Attributes:
        confidence: Confidence level of the intervals, in (0, 1).
        seed: Random seed of the bootstrap and of the permutations.
        replicates: Number of bootstrap replicates per interval.
        permutations: Number of random permutations per p-value.
    """

    confidence: float = 0.95
    seed: int = 0
    replicates: int = 2000
    permutations: int = 9999


def means(values: RealArray) -> RealArray:
    """Compute the mean of each row over the images that have a value.

    Args:
        values: Values per image, [K, n]; NaN where an image has no value.

    Returns:
        The means, [K, 1]; NaN where no image has a value, as in all functions of this module.

    Example:
        >>> means(np.array([[1.0, 3.0, np.nan], [2.0, 2.0, 5.0]]))
        array([[2.],
               [3.]])
    """
    present = ~np.isnan(values)
    return _quotient(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1))[:, None]


def leave_one_out_means(values: RealArray) -> RealArray:
    """Compute the jackknife means: column i is the mean of each row without image i.

    Args:
        values: Values per image, [K, n]; NaN where an image has no value.

    Returns:
        The means, [K, n].

    Example:
        >>> leave_one_out_means(np.array([[1.0, 2.0, 6.0]]))
        array([[4. , 3.5, 1.5]])
    """
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    counts = present.sum(axis=1, keepdims=True) - present
    return _quotient(filled.sum(axis=1, keepdims=True) - filled, counts)


def resampled_means(values: RealArray, resampling: Resampling) -> RealArray:
    """Compute the bootstrap means: of n images drawn with replacement, many times.

    The draws depend on n and the seed only, so two arrays with the same number of images are
    resampled identically.

    Args:
        values: Values per image, [K, n]; NaN where an image has no value.
        resampling: Seed and number of replicates.

    Returns:
        The means, [K, replicates].

    Example:
        >>> replicates = resampled_means(np.array([[0.0, 1.0]]), Resampling(replicates=500))
        >>> replicates.shape, sorted(set(replicates[0].tolist()))
        ((1, 500), [0.0, 0.5, 1.0])
    """
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0).T
    weights = None if present.all() else present.T.astype(np.float64)
    replicates = []
    for counts in _bootstrap_counts(values.shape[1], resampling):
        drawn = np.array(values.shape[1]) if weights is None else counts @ weights
        replicates.append(_quotient(counts @ filled, drawn))
    return np.concatenate(replicates).T


def block_sizes(rows: int, images: int) -> Iterator[int]:
    """Split a number of rows into blocks, so that a [block, images] matrix has a bounded size.

    Args:
        rows: Total number of rows.
        images: Number of columns.

    Yields:
        The number of rows of each block.

    Example:
        >>> list(block_sizes(2500, 1000))
        [1000, 1000, 500]
    """
    largest = max(1, _BLOCK_ELEMENTS // max(1, images))
    for start in range(0, rows, largest):
        yield min(largest, rows - start)


def _bootstrap_counts(images: int, resampling: Resampling) -> Iterator[RealArray]:
    """Yield how often each image is drawn, in blocks of replicates, [block, images]."""
    rng = np.random.default_rng(resampling.seed)
    for rows in block_sizes(resampling.replicates, images):
        drawn = rng.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.float64)


def _quotient(sums: RealArray, counts: NDArray[Any]) -> RealArray:
    """Divide sums by counts; NaN where a count is 0."""
    found: RealArray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return found
