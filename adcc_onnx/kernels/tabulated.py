"""Conversion of 8-bit pixels to real numbers by a table for each channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.jit import as_kernel_array, sequential_kernel


def tabulated(image: NDArray[np.uint8], tables: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace each pixel value by its entry in the table of its channel.

    Args:
        image: Pixels [H, W, C].
        tables: The number for each of the 256 pixel values in each channel, [C, 256].

    Returns:
        The numbers, float32 [C, H, W].

    Raises:
        ValueError: There is not one table of 256 numbers per channel.

    Example:
        >>> table = np.arange(256, dtype=np.float32) / 2
        >>> tabulated(np.array([[[3], [255]]], np.uint8), table[None]).tolist()
        [[[1.5, 127.5]]]
    """
    height, width, channels = image.shape
    if tables.shape != (channels, 256):
        raise ValueError(f"tables of shape {tables.shape} do not fit {channels} channels")
    numbers = np.empty((channels, height, width), np.float32)
    ready = np.require(image, np.uint8, ("C", "A", "W"))
    if numbers.size:
        _look_up(ready, as_kernel_array(tables, 2), numbers)
    return numbers


@sequential_kernel
def _look_up(
    image: NDArray[np.uint8], tables: NDArray[np.float32], numbers: NDArray[np.float32]
) -> None:
    height, width, channels = image.shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                numbers[c, i, j] = tables[c, image[i, j, c]]
