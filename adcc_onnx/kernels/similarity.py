"""Similarity and mean absolute value of maps of one size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, require_same_shape
from adcc_onnx.kernels.spatial_means import row_means
from adcc_onnx.kernels.upsample import upsampled_similarity


def pearson(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Compute Pearson's correlation coefficient of each pair of maps.

    Args:
        first: Maps [N, H, W].
        second: Maps [N, H, W] to correlate with `first`, image by image.

    Returns:
        Array [N] of coefficients in [-1, 1]. A map without variance has no correlation; its
        coefficient is reported as -1. NaN occurs only if a map contains NaN or Inf.

    Raises:
        ValueError: The shapes differ, or the maps are not of three dimensions.

    Example:
        >>> pearson([[[0, 1], [2, 3]]], [[[3, 2], [1, 0]]]).tolist()
        [-1.0]
    """
    a, b = as_kernel_array(first, 3), as_kernel_array(second, 3)
    require_same_shape(a, b)
    return upsampled_similarity(a, b, a.shape[1:])[0]


def mean_abs(maps: ArrayLike) -> NDArray[np.float64]:
    """Compute the mean absolute value of each map.

    Args:
        maps: Maps [N, H, W].

    Returns:
        Array [N] of means.

    Example:
        >>> mean_abs([[[0, 1], [-1, 0]]]).tolist()
        [0.5]
    """
    ready = as_kernel_array(maps, 3)
    return row_means(ready.reshape(len(ready), ready.shape[1] * ready.shape[2]), True)
