"""Bilinear upsampling of maps, and quantities computed from upsampled maps.

`explanation_maps` and `upsampled_similarity` upsample one row at a time, when they need it, so that
they never store the upsampled maps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, helper, kernel

Size = tuple[int, int]
# Linear interpolation along one axis: for each target pixel the indices of its two neighboring
# source pixels and the weight of the second one.
Axis = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def upsample(maps: ArrayLike, size: Size) -> NDArray[np.float32]:
    """Resize maps bilinearly with half-pixel centers, edge clamping and no antialiasing.

    This equals `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` and ONNX
    `Resize(mode="linear", coordinate_transformation_mode="half_pixel")`, for enlarging and for
    reducing.

    Args:
        maps: Maps [N, h, w].
        size: Target height and width (H, W), at least 1 each.

    Returns:
        Array [N, H, W] in float32, within the range of values of each map. Maps that already have
        the target size are returned as they are.

    Raises:
        ValueError: The target size is smaller than 1, or the maps are not of three dimensions.

    Example:
        >>> upsample([[[0, 1]]], (1, 4)).tolist()
        [[[0.0, 0.25, 0.75, 1.0]]]
    """
    ready = as_kernel_array(maps, 3)
    if ready.shape[1:] == tuple(size):
        return ready
    axes = _interpolation(ready, size)
    resized = np.empty((len(ready), *size), np.float32)
    _upsample(len(ready), ready, *axes, resized)
    return resized


def explanation_maps(
    images: ArrayLike, maps: ArrayLike, fill: ArrayLike = (0.0,)
) -> NDArray[np.float32]:
    """Compute the explanation maps e = x * M + fill * (1 - M) with M upsampled to the image size.

    Args:
        images: Preprocessed images x [N, C, H, W].
        maps: Maps M [N, h, w] in [0, 1], of any resolution.
        fill: Value of a fully masked pixel, one per channel [C] or one for all channels.

    Returns:
        Array [N, C, H, W] in float32.

    Raises:
        ValueError: The numbers of images and maps differ.

    Example:
        >>> explanation_maps([[[[2, 4]]]], [[[1, 0.5]]]).tolist()
        [[[[2.0, 2.0]]]]
    """
    x, ready = as_kernel_array(images, 4), as_kernel_array(maps, 3)
    if len(x) != len(ready):
        raise ValueError(f"{len(ready)} maps do not fit {len(x)} images")
    values = np.array(np.broadcast_to(np.asarray(fill, np.float32), x.shape[1:2]))
    masked = np.empty_like(x)
    _explanation_maps(len(x), x, ready, *_interpolation(ready, x.shape[2:]), values, masked)
    return masked


def upsampled_similarity(
    first: ArrayLike, second: ArrayLike, size: Size
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the correlation of pairs of maps at the image size, and the mean of the first maps.

    One pass over the upsampled maps yields what coherency and complexity need.

    Args:
        first: Maps [N, h, w] of any resolution.
        second: Maps [N, h, w] of any resolution to correlate with `first`, image by image.
        size: Image height and width (H, W).

    Returns:
        Two arrays [N]: Pearson's correlation coefficient of each pair of upsampled maps in
        [-1, 1], and the mean absolute value of each upsampled map of `first`. A map without
        variance has no correlation; its coefficient is reported as -1, so that the coherency
        (1 + r) / 2 is 0. NaN occurs only if a map contains NaN or Inf.

    Raises:
        ValueError: The numbers of maps differ, or the size is smaller than 1.

    Example:
        >>> correlation, mean = upsampled_similarity([[[0, 1]]], [[[0, 2]]], (4, 4))
        >>> round(correlation[0], 6), round(mean[0], 6)
        (np.float64(1.0), np.float64(0.5))
    """
    a, b = as_kernel_array(first, 3), as_kernel_array(second, 3)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} maps cannot be compared with {len(b)}")
    correlations, means = np.empty(len(a), np.float64), np.empty(len(a), np.float64)
    _upsampled_similarity(
        len(a), a, *_interpolation(a, size), b, *_interpolation(b, size), correlations, means
    )
    return correlations, means


def _interpolation(maps: NDArray[np.float32], size: Size) -> tuple[Axis, Axis]:
    """The interpolation along height and width that resizes maps [N, h, w] to `size`."""
    if min(size) < 1:
        raise ValueError(f"cannot resize maps to {size[0]} x {size[1]}")
    return _interpolate_axis(maps.shape[1], size[0]), _interpolate_axis(maps.shape[2], size[1])


def _interpolate_axis(source: int, target: int) -> Axis:
    centers = (np.arange(target) + 0.5) * source / target - 0.5
    centers = centers.clip(0, source - 1)
    first = centers.astype(np.int64)
    return first, np.minimum(first + 1, source - 1), centers - first


@helper
def _upsample_row(
    small: NDArray[np.float32],
    i: int,
    vertical: Axis,
    horizontal: Axis,
    buffer: NDArray[np.float64],
    row: NDArray[np.float32],
) -> None:
    """Write row i of the upsampled map to `row`; `buffer` has the width of the small map."""
    above, below, below_weight = vertical
    left, right, right_weight = horizontal
    if len(above) == len(small) and len(left) == len(buffer):
        for j in range(len(row)):
            row[j] = small[i, j]
        return
    for j in range(len(buffer)):
        a, b = np.float64(small[above[i], j]), np.float64(small[below[i], j])
        buffer[j] = a + (b - a) * below_weight[i]
    for j in range(len(row)):
        a, b = buffer[left[j]], buffer[right[j]]
        row[j] = a + (b - a) * right_weight[j]


@kernel
def _upsample(
    start: int,
    stop: int,
    maps: NDArray[np.float32],
    vertical: Axis,
    horizontal: Axis,
    resized: NDArray[np.float32],
) -> None:
    buffer = np.empty(maps.shape[2], np.float64)
    for n in range(start, stop):
        for i in range(resized.shape[1]):
            _upsample_row(maps[n], i, vertical, horizontal, buffer, resized[n, i])


@kernel
def _explanation_maps(
    start: int,
    stop: int,
    images: NDArray[np.float32],
    maps: NDArray[np.float32],
    vertical: Axis,
    horizontal: Axis,
    fill: NDArray[np.float32],
    masked: NDArray[np.float32],
) -> None:
    _, channels, height, width = images.shape
    buffer, row = np.empty(maps.shape[2], np.float64), np.empty(width, np.float32)
    for n in range(start, stop):
        for i in range(height):
            _upsample_row(maps[n], i, vertical, horizontal, buffer, row)
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
    first_vertical: Axis,
    first_horizontal: Axis,
    second: NDArray[np.float32],
    second_vertical: Axis,
    second_horizontal: Axis,
    correlations: NDArray[np.float64],
    means: NDArray[np.float64],
) -> None:
    height, width = len(first_vertical[0]), len(first_horizontal[0])
    buffer_a, buffer_b = np.empty(first.shape[2]), np.empty(second.shape[2])
    row_a, row_b = np.empty(width, np.float32), np.empty(width, np.float32)
    for n in range(start, stop):
        # After subtraction of its first value, a constant map has a variance of exactly 0.
        shift_a, shift_b = np.float64(first[n, 0, 0]), np.float64(second[n, 0, 0])
        mean_a, mean_b, aa, bb, ab, absolute = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(height):
            _upsample_row(first[n], i, first_vertical, first_horizontal, buffer_a, row_a)
            _upsample_row(second[n], i, second_vertical, second_horizontal, buffer_b, row_b)
            row_mean_a, row_mean_b = 0.0, 0.0
            for j in range(width):
                row_mean_a += np.float64(row_a[j]) - shift_a
                row_mean_b += np.float64(row_b[j]) - shift_b
                absolute += abs(np.float64(row_a[j]))
            row_mean_a, row_mean_b = row_mean_a / width, row_mean_b / width
            # Sums of products about the row's own mean (a second loop while the row is in the
            # cache) avoid the cancellation of a difference of squares. The rows are combined as
            # in Chan, Golub and LeVeque (1979).
            for j in range(width):
                a = (np.float64(row_a[j]) - shift_a) - row_mean_a
                b = (np.float64(row_b[j]) - shift_b) - row_mean_b
                aa += a * a
                bb += b * b
                ab += a * b
            delta_a, delta_b = row_mean_a - mean_a, row_mean_b - mean_b
            share = 1.0 / (i + 1)
            mean_a += delta_a * share
            mean_b += delta_b * share
            weight = width * i * share
            aa += delta_a * delta_a * weight
            bb += delta_b * delta_b * weight
            ab += delta_a * delta_b * weight
        means[n] = absolute / (height * width)
        if aa == 0.0 or bb == 0.0:
            correlations[n] = -1.0
        else:
            r = ab / math.sqrt(aa * bb)
            correlations[n] = r if math.isnan(r) else min(1.0, max(-1.0, r))
