"""Maps of a layer's resolution, read as if they had the image's.

Rows of the large map are made one at a time, where they are needed: nothing of its size is written
unless it is asked for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, helper, kernel

Size = tuple[int, int]
# Of one axis: the two source cells around the center of each target cell, and how far along it is.
Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def upsample(maps: ArrayLike, size: Size) -> NDArray[np.float32]:
    """Bilinear resize with half-pixel centers, clamped at the edge, without antialiasing.

    This is `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` and ONNX
    `Resize(mode="linear", coordinate_transformation_mode="half_pixel")`, in either direction.

    Args:
        maps: [N, h, w].
        size: (H, W), at least 1 each; (h, w) gives the same values back.

    Returns:
        [N, H, W] float32, within the range of each map; the given maps where they have the size.
    """
    ready = as_kernel_array(maps, 3)
    if ready.shape[1:] == tuple(size):
        return ready
    taps = _taps_of(ready, size)
    resized = np.empty((len(ready), *size), np.float32)
    _upsample(len(ready), ready, *taps, resized)
    return resized


def explanation_maps(
    images: ArrayLike, maps: ArrayLike, fill: ArrayLike = (0.0,)
) -> NDArray[np.float32]:
    """e = x * M + fill * (1 - M), M upsampled on the way.

    Args:
        images: x, [N, C, H, W].
        maps: M in [0, 1], [N, h, w] of any h and w.
        fill: what shows where M is 0, a value a channel, [C] (or one for all).

    Returns:
        [N, C, H, W] float32.
    """
    x, ready = as_kernel_array(images, 4), as_kernel_array(maps, 3)
    if len(x) != len(ready):
        raise ValueError(f"{len(ready)} maps do not fit {len(x)} images")
    values = np.array(np.broadcast_to(np.asarray(fill, np.float32), x.shape[1:2]))
    masked = np.empty_like(x)
    _explanation_maps(len(x), x, ready, *_taps_of(ready, x.shape[2:]), values, masked)
    return masked


def upsampled_similarity(
    first: ArrayLike, second: ArrayLike, size: Size
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How well two maps agree at the image's size, and how much the first one covers.

    Args:
        first, second: [N, h, w] each, of any h and w.
        size: (H, W).

    Returns:
        Pearson's correlation coefficient of each pair of upsampled maps, [N] in [-1, 1], and the
        mean absolute value of the first of them, [N]. Where either map has no variance the
        coefficient is undefined; it is given as -1, so that the coherency (1 + r) / 2 is 0 there.
        NaN only where a map holds NaN or Inf.
    """
    a, b = as_kernel_array(first, 3), as_kernel_array(second, 3)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} maps cannot be compared with {len(b)}")
    coefficients, means = np.empty(len(a), np.float64), np.empty(len(a), np.float64)
    _upsampled_similarity(len(a), a, *_taps_of(a, size), b, *_taps_of(b, size), coefficients, means)
    return coefficients, means


def _taps_of(maps: NDArray[np.float32], size: Size) -> tuple[Taps, Taps]:
    """The taps along the height and the width that bring maps [N, h, w] to `size`."""
    if min(size) < 1:
        raise ValueError(f"cannot resize maps to {size[0]} x {size[1]}")
    return _taps(maps.shape[1], size[0]), _taps(maps.shape[2], size[1])


def _taps(source: int, target: int) -> Taps:
    centers = (np.arange(target) + 0.5) * source / target - 0.5
    centers = centers.clip(0, source - 1)
    first = centers.astype(np.int64)
    return first, np.minimum(first + 1, source - 1), centers - first


@helper
def _fill_row(
    small: NDArray[np.float32],
    i: int,
    tall: Taps,
    wide: Taps,
    blend: NDArray[np.float64],
    row: NDArray[np.float32],
) -> None:
    """Row i of the large map; `blend` is room for a row of the small one."""
    above, below, down = tall
    left, right, along = wide
    if len(above) == len(small) and len(left) == len(blend):
        for j in range(len(row)):
            row[j] = small[i, j]
        return
    for j in range(len(blend)):
        a, b = np.float64(small[above[i], j]), np.float64(small[below[i], j])
        blend[j] = a + (b - a) * down[i]
    for j in range(len(row)):
        a, b = blend[left[j]], blend[right[j]]
        row[j] = a + (b - a) * along[j]


@kernel
def _upsample(
    start: int,
    stop: int,
    maps: NDArray[np.float32],
    tall: Taps,
    wide: Taps,
    resized: NDArray[np.float32],
) -> None:
    blend = np.empty(maps.shape[2], np.float64)
    for n in range(start, stop):
        for i in range(resized.shape[1]):
            _fill_row(maps[n], i, tall, wide, blend, resized[n, i])


@kernel
def _explanation_maps(
    start: int,
    stop: int,
    images: NDArray[np.float32],
    maps: NDArray[np.float32],
    tall: Taps,
    wide: Taps,
    fill: NDArray[np.float32],
    masked: NDArray[np.float32],
) -> None:
    _, channels, height, width = images.shape
    blend, row = np.empty(maps.shape[2], np.float64), np.empty(width, np.float32)
    for n in range(start, stop):
        for i in range(height):
            _fill_row(maps[n], i, tall, wide, blend, row)
            for c in range(channels):
                for j in range(width):
                    masked[n, c, i, j] = images[n, c, i, j] * row[j]
                if fill[c] != 0.0:
                    for j in range(width):
                        masked[n, c, i, j] += fill[c] * (np.float32(1.0) - row[j])


@kernel
def _upsampled_similarity(
    start: int,
    stop: int,
    first: NDArray[np.float32],
    first_tall: Taps,
    first_wide: Taps,
    second: NDArray[np.float32],
    second_tall: Taps,
    second_wide: Taps,
    coefficients: NDArray[np.float64],
    means: NDArray[np.float64],
) -> None:
    height, width = len(first_tall[0]), len(first_wide[0])
    blend_a, blend_b = np.empty(first.shape[2]), np.empty(second.shape[2])
    row_a, row_b = np.empty(width, np.float32), np.empty(width, np.float32)
    for n in range(start, stop):
        # Shifted by its first value, a constant map has a variance of exactly 0.
        shift_a, shift_b = np.float64(first[n, 0, 0]), np.float64(second[n, 0, 0])
        mean_a, mean_b, aa, bb, ab, mass = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(height):
            _fill_row(first[n], i, first_tall, first_wide, blend_a, row_a)
            _fill_row(second[n], i, second_tall, second_wide, blend_b, row_b)
            here_a, here_b = 0.0, 0.0
            for j in range(width):
                here_a += np.float64(row_a[j]) - shift_a
                here_b += np.float64(row_b[j]) - shift_b
                mass += abs(np.float64(row_a[j]))
            here_a, here_b = here_a / width, here_b / width
            # Each row about its own mean, a second walk while it is in the cache, instead of a
            # difference of squares; rows are joined as Chan, Golub and LeVeque do (1979).
            for j in range(width):
                a = (np.float64(row_a[j]) - shift_a) - here_a
                b = (np.float64(row_b[j]) - shift_b) - here_b
                aa += a * a
                bb += b * b
                ab += a * b
            off_a, off_b = here_a - mean_a, here_b - mean_b
            share = 1.0 / (i + 1)
            mean_a += off_a * share
            mean_b += off_b * share
            apart = width * i * share
            aa += off_a * off_a * apart
            bb += off_b * off_b * apart
            ab += off_a * off_b * apart
        means[n] = mass / (height * width)
        if aa == 0.0 or bb == 0.0:
            coefficients[n] = -1.0
        else:
            r = ab / math.sqrt(aa * bb)
            coefficients[n] = r if math.isnan(r) else min(1.0, max(-1.0, r))
