"""What the metrics read off maps of one size: how well two agree, and how much one covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.kernels.jit import as_kernel_array, require_same_shape
from adcc_onnx.kernels.spatial_means import row_means
from adcc_onnx.kernels.upsample import upsampled_similarity


def pearson(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Pearson's correlation coefficient of each pair of maps of one size.

    Args:
        first, second: [N, H, W] each.

    Returns:
        [N] in [-1, 1], -1 where a map has no variance; NaN only where a map holds NaN or Inf.
    """
    a, b = as_kernel_array(first, 3), as_kernel_array(second, 3)
    require_same_shape(a, b)
    return upsampled_similarity(a, b, a.shape[1:])[0]


def mean_abs(maps: ArrayLike) -> NDArray[np.float64]:
    """The mean absolute value of each map [N, H, W]: [N]."""
    ready = as_kernel_array(maps, 3)
    return row_means(ready.reshape(len(ready), ready.shape[1] * ready.shape[2]), True)
