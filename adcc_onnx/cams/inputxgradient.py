"""Input times gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class InputXGradient(Method):
    """|sum over the color channels of x d y_c / d x|, a pixel each.

    Shrikumar et al., 2016, https://arxiv.org/abs/1605.01713.
    """

    name = "inputxgradient"
    family = "pixel"
    summary = "each pixel times its gradient"
    cost = "1 with full backward"
    needs = frozenset({Need.IMAGE_GRADIENT})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        return summed(context.images * context.image_gradient)


def summed(attributions: Float32Array) -> Float32Array:
    """The absolute value of the sum over the color channels, [N, H, W]."""
    totals: Float32Array = np.abs(attributions.sum(axis=1))
    return totals
