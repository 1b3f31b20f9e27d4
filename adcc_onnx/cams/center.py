"""Center, a control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class Center(Method):
    """A Gaussian about the middle of the image, its standard deviation a quarter of the height."""

    name = "center"
    family = "control"
    summary = "the middle of the image, where photographers put things"
    cost = "0"
    needs = frozenset()

    def raw_maps(self, context: MethodContext) -> Float32Array:
        count, _, height, width = context.images.shape
        rows = np.arange(height) - (height - 1) / 2
        columns = np.arange(width) - (width - 1) / 2
        distance = rows[:, None] ** 2 + columns**2
        gaussian = np.exp(-distance / (2 * (height / 4) ** 2)).astype(np.float32)
        return np.repeat(gaussian[None], count, axis=0)
