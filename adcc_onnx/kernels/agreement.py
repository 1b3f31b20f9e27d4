"""What the metrics read off maps: how well two agree, and how much one covers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import kernel, prepared, require_same_shape
from adcc_onnx.kernels.reduction import row_means


def pearson(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Pearson's correlation coefficient of each pair of maps.

    Args:
        first, second: [N, H, W] each.

    Returns:
        [N] in [-1, 1]. Where either map has no variance the coefficient is undefined; it is given
        as -1, so that the coherency (1 + r) / 2 is 0 there. NaN only where a map holds NaN or Inf.
    """
    a, b = prepared(first, 3), prepared(second, 3)
    require_same_shape(a, b)
    coefficients = np.empty(len(a), np.float64)
    _pearson(len(a), _rows(a), _rows(b), coefficients)
    return coefficients


def mean_abs(maps: ArrayLike) -> NDArray[np.float64]:
    """The mean absolute value of each map [N, H, W]: [N]."""
    return row_means(_rows(prepared(maps, 3)), True)


def _rows(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return maps.reshape(len(maps), maps.shape[1] * maps.shape[2])


@kernel
def _pearson(
    start: int,
    stop: int,
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    coefficients: NDArray[np.float64],
) -> None:
    size = first.shape[1]
    for n in range(start, stop):
        # Shifted by its first value, a constant map has a variance of exactly 0.
        shift_a, shift_b = np.float64(first[n, 0]), np.float64(second[n, 0])
        mean_a, mean_b = 0.0, 0.0
        for p in range(size):
            mean_a += np.float64(first[n, p]) - shift_a
            mean_b += np.float64(second[n, p]) - shift_b
        mean_a, mean_b = mean_a / size, mean_b / size
        # A second walk, while both maps are in the cache, instead of a difference of squares.
        aa, bb, ab = 0.0, 0.0, 0.0
        for p in range(size):
            a = (np.float64(first[n, p]) - shift_a) - mean_a
            b = (np.float64(second[n, p]) - shift_b) - mean_b
            aa += a * a
            bb += b * b
            ab += a * b
        if aa == 0.0 or bb == 0.0:
            coefficients[n] = -1.0
        else:
            r = ab / math.sqrt(aa * bb)
            coefficients[n] = r if math.isnan(r) else min(1.0, max(-1.0, r))
