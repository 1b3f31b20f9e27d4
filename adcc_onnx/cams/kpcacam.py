"""KPCA-CAM."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.eigencam import oriented
from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.blas import single_threaded_blas


@method
@dataclass(frozen=True)
class KPCACAM(Method):
    """The first kernel principal component of A over space, each channel centered.

    The kernel of two places x, y is tanh(gamma x.y + 1). Oriented as Eigen-CAM; it looks at no
    class. Karmani et al., MMSP 2024, https://arxiv.org/abs/2410.00267.

    Attributes:
        gamma: of the kernel, above 0; 1 / K where it is 0.

    Raises:
        OptionError: gamma is below 0 or not finite.
    """

    name = "kpcacam"
    family = "activation"
    summary = "the first kernel principal component of the activations"
    cost = "1"
    needs = frozenset({Need.ACTIVATIONS})

    gamma: float = 0.0

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and math.isfinite(self.gamma)):
            raise OptionError(f"kpcacam: gamma must be at least 0, not {self.gamma}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        return np.stack([self._map_of(a) for a in context.activations])

    def _map_of(self, activations: Float32Array) -> Float32Array:
        channels, height, width = activations.shape
        rows = activations.reshape(channels, -1).T.astype(np.float64)
        if not np.isfinite(rows).all():
            return np.full((height, width), np.nan, np.float32)
        centered = rows - rows.mean(axis=0)
        with single_threaded_blas():
            kernel = np.tanh((self.gamma or 1 / channels) * centered @ centered.T + 1)
            # Centered in the space that the kernel spans.
            kernel -= kernel.mean(axis=0, keepdims=True)
            kernel -= kernel.mean(axis=1, keepdims=True)
            values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
        component = vectors[:, -1] * math.sqrt(max(values[-1], 0.0))
        return oriented(component, rows.sum(axis=1)).reshape(height, width)
