"""The order in which a map replaces pixels, and what they are replaced by."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array

Baseline = Literal["zero", "blur", "mean"]

_KERNEL, _SIGMA = 11, 5.0  # pixels


def ranks(heatmap: Float32Array) -> NDArray[np.int64]:
    """The place of each pixel [H, W], the most important first; ties in raster order."""
    order = np.argsort(-heatmap.reshape(-1), kind="stable")
    places = np.empty(order.size, np.int64)
    places[order] = np.arange(order.size)
    return places.reshape(heatmap.shape)


def baseline_of(image: Float32Array, kind: Baseline) -> Float32Array:
    """What pixels of x [C, H, W] are replaced by: zeros, x blurred, or the mean of each channel.

    The blur is an 11 x 11 Gaussian, sigma 5, of the image with zeros around it.
    """
    if kind == "zero":
        return np.zeros_like(image)
    if kind == "mean":
        means = image.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        return np.broadcast_to(means.astype(np.float32), image.shape)
    window = cv2.getGaussianKernel(_KERNEL, _SIGMA)
    border = cv2.BORDER_CONSTANT
    planes = [cv2.sepFilter2D(p, cv2.CV_64F, window, window, borderType=border) for p in image]
    return np.stack(planes).astype(np.float32)
