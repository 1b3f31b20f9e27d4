"""Ablation-CAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import MethodContext, Need, WeightedMethod
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class AblationCAM(WeightedMethod):
    """ReLU(sum_k w_k A_k) with w_k = (y - y_k) / |y|, y_k the logit with channel k of A zeroed.

    A channel that is zero anyway has weight 0 and is not run; only what follows the layer is.
    Desai and Ramaswamy, WACV 2020, https://doi.org/10.1109/WACV45572.2020.9093360. (The paper's
    divisor is y; its size keeps the order of the channels where y is negative.)
    """

    name = "ablationcam"
    family = "perturbation"
    summary = "channels weighted by how much the score falls without them"
    cost = "1 + live channels, tail only"
    needs = frozenset({Need.ACTIVATIONS, Need.SUFFIX_SCORES})

    def weights(self, context: MethodContext) -> Float32Array:
        return np.stack([self._weights_of(context, i) for i in range(len(context.images))])

    def _weights_of(self, context: MethodContext, image: int) -> Float32Array:
        activations, target = context.activations[image], context.targets[image]
        alive = np.flatnonzero(activations.any(axis=(1, 2)))
        # The first mask leaves everything in place: y comes from the same graph as every y_k.
        masks = np.ones((len(alive) + 1, len(activations), 1, 1), np.float32)
        masks[np.arange(1, len(masks)), alive] = 0.0
        scores = context.suffix_scores(image, masks)[:, target].astype(np.float64)
        weights = np.zeros(len(activations), np.float32)
        if scores[0] != 0:
            weights[alive] = (scores[0] - scores[1:]) / abs(scores[0])
        return weights
