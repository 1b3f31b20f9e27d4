"""Means over images drawn anew, and over all images but one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64]

# Numbers of a block of weights, one an image and replicate: 8 MB stay in the cache, nearly.
_BLOCK = 1_000_000


@dataclass(frozen=True)
class Resampling:
    """How intervals and p-values are found.

    Attributes:
        confidence: of the intervals, in (0, 1).
        seed: of all that is drawn.
        replicates: data sets drawn for an interval.
        permutations: swaps of two methods' values drawn for a p-value.
    """

    confidence: float = 0.95
    seed: int = 0
    replicates: int = 2000
    permutations: int = 9999


def means(values: RealArray) -> RealArray:
    """The mean of each row of [K, n] over the images that have a value (are not NaN): [K, 1].

    NaN where no image has one, as in all functions here.
    """
    known = ~np.isnan(values)
    return _quotient(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))[:, None]


def leave_one_out_means(values: RealArray) -> RealArray:
    """The means of [K, n] without image 0, without image 1, ...: [K, n]."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    counts = known.sum(axis=1, keepdims=True) - known
    return _quotient(filled.sum(axis=1, keepdims=True) - filled, counts)


def resampled_means(values: RealArray, resampling: Resampling) -> RealArray:
    """The means of [K, n] over n images drawn with replacement, many times: [K, replicates].

    The draws hang on n and the seed only: values given apart are resampled alike.
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0).T
    weights = None if known.all() else known.T.astype(np.float64)
    replicates = []
    for counts in _draws(values.shape[1], resampling):
        drawn = np.array(values.shape[1]) if weights is None else counts @ weights
        replicates.append(_quotient(counts @ filled, drawn))
    return np.concatenate(replicates).T


def block_sizes(rows: int, images: int) -> Iterator[int]:
    """`rows` in blocks whose [block, images] matrix has a bounded size."""
    most = max(1, _BLOCK // max(1, images))
    for start in range(0, rows, most):
        yield min(most, rows - start)


def _draws(images: int, resampling: Resampling) -> Iterator[RealArray]:
    """How often each image is drawn, in blocks [r, images]."""
    rng = np.random.default_rng(resampling.seed)
    for rows in block_sizes(resampling.replicates, images):
        drawn = rng.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.float64)


def _quotient(sums: RealArray, counts: NDArray[Any]) -> RealArray:
    found: RealArray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return found
