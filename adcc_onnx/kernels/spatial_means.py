"""Means over the pixels of a map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.jit import kernel


def row_means(rows: NDArray[np.float32], absolute: bool) -> NDArray[np.float64]:
    """Compute the mean of each row, summed in float64.

    Args:
        rows: Array [R, P] with one row per map or channel.
        absolute: Whether to average the absolute values instead of the values.

    Returns:
        Array [R] of means.

    Example:
        >>> row_means(np.array([[1, -3], [2, 4]], np.float32), absolute=True).tolist()
        [2.0, 3.0]
    """
    means = np.empty(len(rows), np.float64)
    _row_means(len(rows), rows, absolute, means)
    return means


@kernel
def _row_means(
    start: int,
    stop: int,
    rows: NDArray[np.float32],
    absolute: bool,
    means: NDArray[np.float64],
) -> None:
    for r in range(start, stop):
        total = 0.0
        for p in range(rows.shape[1]):
            value = np.float64(rows[r, p])
            total += abs(value) if absolute else value
        means[r] = total / rows.shape[1]
