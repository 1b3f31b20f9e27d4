"""CAMs that are found by optimization: Opti-CAM."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array

_START, _BETA1, _BETA2, _EPSILON = 0.5, 0.9, 0.999, 1e-8  # Adam's usual constants


@dataclass(frozen=True)
class OptiCAM(Method):
    """sum_k softmax(u)_k ReLU(A_k), with u chosen to maximize y_c of the image behind this map.

    u starts at 0.5 and takes `steps` steps of Adam (Kingma and Ba, 2015).
    Zhang et al., CVIU 2024, https://arxiv.org/abs/2301.07002.

    Attributes:
        steps: Number of optimization steps, at least 1. Each takes a forward and a backward pass.
        rate: Learning rate of Adam, above 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 1]]]], np.float32)
        >>> slope = np.array([[1, -1]], np.float32)  # the score rises with the first channel
        >>> context = ArrayContext(activations=a, share_gradient=lambda shares: slope)
        >>> OptiCAM(steps=10).raw_maps(context).round(2)
        array([[[0.88, 0.12]]], dtype=float32)
    """

    name = "opticam"
    title = "Opti-CAM"
    family = "optimization"
    summary = "mask from a weighted sum of channels, optimized for the class score"
    cost = "1 + steps with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.SHARE_GRADIENTS})

    steps: int = 50
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"opticam: steps must be at least 1, not {self.steps}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise OptionError(f"opticam: rate must be above 0, not {self.rate}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The mixture of channels after all steps, [N, h, w]."""
        activations = context.activations
        shares = self.optimized(context).astype(np.float64)
        powers = np.exp(shares - shares.max(axis=1, keepdims=True))
        weights = powers / powers.sum(axis=1, keepdims=True)
        maps: Float32Array = np.einsum("nk,nkhw->nhw", weights, np.maximum(activations, 0))
        return maps.astype(np.float32)

    def optimized(self, context: MethodContext) -> Float32Array:
        """The shares u of the channels after all steps, [N, K]."""
        count, channels = context.activations.shape[:2]
        shares = np.full((count, channels), _START)
        mean, square = np.zeros_like(shares), np.zeros_like(shares)
        for step in range(1, self.steps + 1):
            _, gradients = context.share_gradients(shares.astype(np.float32))
            slope = -gradients.astype(np.float64)  # Adam minimizes; the score is maximized
            mean = _BETA1 * mean + (1 - _BETA1) * slope
            square = _BETA2 * square + (1 - _BETA2) * slope * slope
            size = np.sqrt(square / (1 - _BETA2**step)) + _EPSILON
            shares -= self.rate * mean / (1 - _BETA1**step) / size
        return shares.astype(np.float32)
