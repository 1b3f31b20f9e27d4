"""Min-max normalization of maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, kernel


def min_max_normalize(maps: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(S - min) / (max - min) of each map, without an epsilon.

    Args:
        maps: [N, h, w].

    Returns:
        The maps in [0, 1], [N, h, w] float32, each with a 0 and a 1; and [N] bool, whether a map
        is degenerate: constant, or holding NaN or Inf. Such a map comes out as zeros.
    """
    ready = as_kernel_array(maps, 3)
    normalized = np.empty(ready.shape, np.float32)
    degenerate = np.empty(len(ready), np.bool_)
    _min_max(len(ready), ready, normalized, degenerate)
    return normalized, degenerate


@kernel
def _min_max(
    start: int,
    stop: int,
    maps: NDArray[np.float32],
    normalized: NDArray[np.float32],
    degenerate: NDArray[np.bool_],
) -> None:
    _, height, width = maps.shape
    for n in range(start, stop):
        low, high, finite = maps[n, 0, 0], maps[n, 0, 0], True
        for i in range(height):
            for j in range(width):
                value = maps[n, i, j]
                low, high = min(low, value), max(high, value)
                finite &= np.isfinite(value)
        degenerate[n] = low == high or not finite
        if degenerate[n]:
            normalized[n] = 0.0
            continue
        # In float64 the span of two float32 values neither overflows nor vanishes.
        floor = np.float64(low)
        factor = 1.0 / (np.float64(high) - floor)
        for i in range(height):
            for j in range(width):
                normalized[n, i, j] = (np.float64(maps[n, i, j]) - floor) * factor
