"""Antialiased resizing of 8-bit images, only of the pixels that a crop keeps.

The result equals resizing the whole image with Pillow and cropping it, bit by bit: the weights are
rounded to the same fixed-point numbers, and rows are rounded to 8 bits before columns are resized.
One kernel resizes both: rows are the columns of the transposed image, and transposing it twice
takes half as long as a kernel that walks along the rows and cannot be vectorized.
Pillow resizes the columns first if the height shrinks by more than twice as many pixels as the
width; such images are left to Pillow, see `resizes_rows_first`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.kernels.jit import helper, sequential_kernel

Size = tuple[int, int]
# For each pixel of the crop along one axis: the first source pixel, the number of source pixels,
# and their weights in units of 2**-22.
Axis = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]

# The radius of each filter in pixels of the larger of the two images.
FILTER_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
# The weights of an axis take about 100 bytes per source pixel while they are computed.
MAX_SIDE = 2**16
_MAX_TRANSPOSED = 4  # channels that OpenCV transposes
_FRACTION_BITS = 22  # as in Pillow; the sums of weighted pixels fit in 32 bits


def resized_crop(
    image: NDArray[np.uint8], resized: Size, corner: Size, size: Size, interpolation: str
) -> NDArray[np.uint8]:
    """Compute a crop of a resized image.

    Args:
        image: Pixels [h, w, C], with sides from 1 to `MAX_SIDE`.
        resized: Height and width of the whole resized image, at least 1 each.
        corner: The crop's top and left edge in the resized image.
        size: Height and width (H, W) of the crop, at least 1 each.
        interpolation: "bilinear" or "bicubic".

    Returns:
        The pixels of the crop, uint8 [H, W, C].

    Raises:
        ValueError: The crop is not inside the resized image, or the image is empty or too large.

    Example:
        >>> image = np.array([[[0], [100]]], np.uint8)
        >>> resized_crop(image, (1, 4), (0, 1), (1, 3), "bilinear")[0, :, 0].tolist()
        [25, 75, 100]
    """
    height, width, channels = image.shape
    if not 1 <= min(image.shape) <= max(height, width) <= MAX_SIDE:
        raise ValueError(f"cannot resize an image of shape {image.shape}")
    edges = zip(corner, size, resized, strict=True)
    if not all(0 <= first < first + count <= whole for first, count, whole in edges):
        raise ValueError(f"no crop of {size} at {corner} in a resized image of {resized}")
    rows = _axis(height, resized[0], corner[0], size[0], interpolation)
    columns = _axis(width, resized[1], corner[1], size[1], interpolation)
    ready = np.require(image, np.uint8, ("C", "A"))
    (top, bottom), (left, right) = _extent(rows), _extent(columns)
    turned = _transposed(ready[top:bottom, left:right])
    narrow = np.empty((size[1], bottom - top, channels), np.uint8)
    _resize_columns(turned, left, *columns, narrow)
    cropped = np.empty((*size, channels), np.uint8)
    _resize_columns(_transposed(narrow), top, *rows, cropped)
    return cropped


def _extent(axis: Axis) -> tuple[int, int]:
    """Return the first source pixel that an axis needs, and the one after the last."""
    starts, counts, _ = axis
    return int(starts.min()), int((starts + counts).max())


def _transposed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Swap the height and the width of an image."""
    height, width, channels = image.shape
    if channels > _MAX_TRANSPOSED:
        return np.ascontiguousarray(image.transpose(1, 0, 2))
    turned: NDArray[np.uint8] = cv2.transpose(image).reshape(width, height, channels)
    return turned


def resizes_rows_first(source: Size, resized: Size) -> bool:
    """Return whether Pillow resizes rows before columns, as `resized_crop` does.

    Args:
        source: Height and width of an image.
        resized: Height and width of the resized image.
    """
    shrinks = source[0] - resized[0]
    return shrinks <= 0 or shrinks <= 2 * (source[1] - resized[1])


@lru_cache(maxsize=64)
def _axis(length: int, resized: int, first: int, count: int, interpolation: str) -> Axis:
    """Compute the weights of an axis.

    Args:
        length: The image's number of pixels along the axis.
        resized: The resized image's number of pixels.
        first: The crop's first pixel in the resized image.
        count: The crop's number of pixels.
        interpolation: "bilinear" or "bicubic".
    """
    scale = length / resized
    # Antialiasing: where the image shrinks, the filter covers as many pixels as one of the result.
    stretch = max(scale, 1.0)
    radius = FILTER_RADIUS[interpolation] * stretch
    centers = (np.arange(first, first + count) + 0.5) * scale
    starts = np.maximum((centers - radius + 0.5).astype(np.int64), 0)
    counts = np.minimum((centers + radius + 0.5).astype(np.int64), length) - starts
    taps = np.arange(math.ceil(radius) * 2 + 1)
    distances = (taps + starts[:, None] - centers[:, None] + 0.5) * (1.0 / stretch)
    weights = _bilinear(distances) if interpolation == "bilinear" else _bicubic(distances)
    weights[taps >= counts[:, None]] = 0.0
    # Summed one after the other, since the order changes the last bit.
    weights /= np.add.accumulate(weights, axis=1)[:, -1:]
    fixed = weights * 2**_FRACTION_BITS
    return starts, counts, np.trunc(fixed + np.copysign(0.5, fixed)).astype(np.int32)


def _bilinear(distance: Float64Array) -> Float64Array:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _bicubic(distance: Float64Array) -> Float64Array:
    """Evaluate Keys' cubic filter with a = -0.5."""
    a, x = -0.5, np.abs(distance)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


@helper
def _rounded(total: np.int32) -> int:
    """Convert a sum of weighted pixels to a pixel value."""
    return min(max(int(total) >> _FRACTION_BITS, 0), 255)


@sequential_kernel
def _resize_columns(
    image: NDArray[np.uint8],
    first: int,
    top: NDArray[np.int64],
    heights: NDArray[np.int64],
    weights: NDArray[np.int32],
    resized: NDArray[np.uint8],
) -> None:
    """Resize the columns of an image whose first row is row `first` of the whole image."""
    rows, width, channels = resized.shape
    sums = np.empty(width * channels, np.int32)
    for y in range(rows):
        sums[:] = 1 << (_FRACTION_BITS - 1)
        for t in range(heights[y]):
            weight, source = weights[y, t], image[top[y] - first + t].reshape(-1)
            for j in range(len(sums)):
                sums[j] += np.int32(source[j]) * weight
        target = resized[y].reshape(-1)
        for j in range(len(sums)):
            target[j] = _rounded(sums[j])
