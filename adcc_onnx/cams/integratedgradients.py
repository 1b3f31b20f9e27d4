"""Integrated Gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.inputxgradient import summed
from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class IntegratedGradients(Method):
    """|sum over the color channels of x times the mean of g along the way from 0 to x|.

    The integral is the midpoint rule: g at x (i - 1/2) / steps, i = 1..steps.
    Sundararajan, Taly and Yan, ICML 2017, https://arxiv.org/abs/1703.01365.

    Attributes:
        steps: at least 1; each costs a forward and a backward pass.

    Raises:
        OptionError: steps is below 1.
    """

    name = "integratedgradients"
    family = "pixel"
    summary = "each pixel times its gradient, averaged on the way from the zero image"
    cost = "steps with full backward"
    needs = frozenset({Need.IMAGE_GRADIENTS})

    steps: int = 50

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"integratedgradients: steps must be at least 1, not {self.steps}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        images = context.images
        total = np.zeros(images.shape)
        for i in range(self.steps):
            total += context.image_gradients(images * np.float32((i + 0.5) / self.steps))
        return summed((images * total / self.steps).astype(np.float32))
