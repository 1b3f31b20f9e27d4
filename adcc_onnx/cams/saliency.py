"""Saliency: the plain gradient of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class Saliency(Method):
    """max over the color channels of |d y_c / d x|, a pixel each.

    Simonyan, Vedaldi and Zisserman, ICLR Workshops 2014, https://arxiv.org/abs/1312.6034.
    """

    name = "saliency"
    family = "pixel"
    summary = "the size of the image's own gradient"
    cost = "1 with full backward"
    needs = frozenset({Need.IMAGE_GRADIENT})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        return largest(context.image_gradient)


def largest(gradients: Float32Array) -> Float32Array:
    """The largest absolute value over the color channels, [N, H, W]."""
    sizes: Float32Array = np.abs(gradients).max(axis=1)
    return sizes
