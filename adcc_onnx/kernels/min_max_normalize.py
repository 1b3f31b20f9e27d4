"""Min-max normalization of maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, kernel


def min_max_normalize(maps: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Normalize each map to (S - min) / (max - min), without an epsilon.

    A map is degenerate if it is constant or contains NaN or Inf. A degenerate map cannot be
    normalized and becomes all zeros.

    Args:
        maps: Maps S [N, h, w].

    Returns:
        The float32 maps [N, h, w] in [0, 1], and an array [N] of booleans that marks the
        degenerate maps. Every other map contains both a 0 and a 1.

    Example:
        >>> normalized, degenerate = min_max_normalize([[[1, 2], [3, 5]], [[4, 4], [4, 4]]])
        >>> normalized[0].tolist()
        [[0.0, 0.25], [0.5, 1.0]]
        >>> degenerate.tolist()
        [False, True]
    """
    ready = as_kernel_array(maps, 3)
    normalized = np.empty(ready.shape, np.float32)
    degenerate = np.empty(len(ready), np.bool_)
    _min_max_normalize(len(ready), ready, normalized, degenerate)
    return normalized, degenerate


@kernel
def _min_max_normalize(
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
        # The range of two float32 values neither overflows nor underflows in float64.
        offset = np.float64(low)
        factor = 1.0 / (np.float64(high) - offset)
        for i in range(height):
            for j in range(width):
                normalized[n, i, j] = (np.float64(maps[n, i, j]) - offset) * factor
