"""Random, a control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class Random(Method):
    """Uniform noise at the layer's resolution, drawn anew for the explanation map."""

    name = "random"
    family = "control"
    summary = "noise: what a map that knows nothing scores"
    cost = "1"
    needs = frozenset({Need.ACTIVATIONS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        grid = context.activations.shape[2:]
        return np.stack([rng.random(grid, np.float32) for rng in context.rngs(resample=True)])
