"""Bilinear resizing of maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import kernel, prepared

Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def upsample(maps: ArrayLike, size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear resize with half-pixel centres, clamped at the edge, without antialiasing.

    This is `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` and ONNX
    `Resize(mode="linear", coordinate_transformation_mode="half_pixel")`, in either direction.

    Args:
        maps: [N, h, w].
        size: (H, W), at least 1 each; (h, w) gives the same values back.

    Returns:
        [N, H, W] float32, within the range of each map.
    """
    ready = prepared(maps, 3)
    if min(size) < 1:
        raise ValueError(f"cannot resize maps to {size[0]} x {size[1]}")
    count, height, width = ready.shape
    resized = np.empty((count, *size), np.float32)
    _resize(count, ready, *_taps(height, size[0]), *_taps(width, size[1]), resized)
    return resized


def _taps(source: int, target: int) -> Taps:
    """The two source cells around the centre of each target cell, and how far along it lies."""
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    centres = centres.clip(0, source - 1)
    first = centres.astype(np.int64)
    return first, np.minimum(first + 1, source - 1), centres - first


@kernel
def _resize(
    start: int,
    stop: int,
    maps: NDArray[np.float32],
    above: NDArray[np.int64],
    below: NDArray[np.int64],
    down: NDArray[np.float64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    along: NDArray[np.float64],
    resized: NDArray[np.float32],
) -> None:
    row = np.empty(maps.shape[2], np.float64)
    for n in range(start, stop):
        for i in range(len(above)):
            for j in range(len(row)):
                a, b = np.float64(maps[n, above[i], j]), np.float64(maps[n, below[i], j])
                row[j] = a + (b - a) * down[i]
            for j in range(len(left)):
                a, b = row[left[j]], row[right[j]]
                resized[n, i, j] = a + (b - a) * along[j]
