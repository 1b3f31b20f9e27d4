"""CAMs that change the layer's values and run only the part of the model after the layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need, WeightedMethod
from adcc_onnx.kernels.arrays import Float32Array


@dataclass(frozen=True)
class AblationCAM(WeightedMethod):
    """ReLU(sum_k w_k A_k) with w_k = (y - y_k) / |y|, y_k the logit with channel k of A zeroed.

    A channel that is zero everywhere has the weight 0 and takes no pass. The paper divides by y;
    dividing by |y| keeps the order of the channels where y is negative.
    Desai and Ramaswamy, WACV 2020, https://doi.org/10.1109/WACV45572.2020.9093360.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 1]], [[0, 2]]]], np.float32)
        >>> def head(a):  # y = 3 mean(A_1) + mean(A_2) = 4, without A_1 it is 1
        ...     return a.mean(axis=(2, 3)) @ np.float32([[3], [1]])
        >>> AblationCAM().raw_maps(ArrayContext(activations=a, images=a, suffix=head))
        array([[[0.75, 1.25]]], dtype=float32)
    """

    name = "ablationcam"
    title = "Ablation-CAM"
    family = "perturbation"
    summary = "channels weighted by the relative drop of the class score without them"
    cost = "1 + active channels, suffix only"
    needs = frozenset({Need.ACTIVATIONS, Need.SUFFIX_SCORES})

    def weights(self, context: MethodContext) -> Float32Array:
        """(y - y_k) / |y|, [N, K]."""
        return np.stack([self._weights_of(context, i) for i in range(len(context.images))])

    def _weights_of(self, context: MethodContext, image: int) -> Float32Array:
        activations, target = context.activations[image], context.targets[image]
        alive = np.flatnonzero(activations.any(axis=(1, 2)))
        # The first mask keeps every channel, so that y comes from the same graph as every y_k.
        masks = np.ones((len(alive) + 1, len(activations), 1, 1), np.float32)
        masks[np.arange(1, len(masks)), alive] = 0.0
        scores = context.suffix_scores(image, masks)[:, target].astype(np.float64)
        weights = np.zeros(len(activations), np.float32)
        if scores[0] != 0:
            weights[alive] = (scores[0] - scores[1:]) / abs(scores[0])
        return weights


@dataclass(frozen=True)
class ReciproCAM(Method):
    """The class score with one location of A kept at a time, which is that location's pixel.

    The part of the model after the layer runs h w times. There is no ReLU. In token layers the
    prefix tokens are kept, and a 3 x 3 Gaussian of locations is kept instead of one.
    Byun and Lee, 2022, https://arxiv.org/abs/2209.14074; for transformers
    https://arxiv.org/abs/2310.02588.

    Attributes:
        scores: What a pixel is, "logits" or "probabilities".
        gaussian: Whether a 3 x 3 Gaussian of locations is kept, "yes" or "no"; "auto" keeps it in
            token layers.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 3, 2]]]], np.float32)
        >>> context = ArrayContext(activations=a, images=a, suffix=lambda a: a.sum(axis=(2, 3)))
        >>> ReciproCAM().raw_maps(context)
        array([[[1., 3., 2.]]], dtype=float32)
    """

    name = "reciprocam"
    title = "Recipro-CAM"
    family = "perturbation"
    summary = "class score with only one location of the layer kept"
    cost = "1 + h w, suffix only"
    needs = frozenset({Need.ACTIVATIONS, Need.SUFFIX_SCORES})

    scores: Literal["logits", "probabilities"] = "logits"
    gaussian: Literal["auto", "yes", "no"] = "auto"

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The class score of each location, [N, h, w]."""
        height, width = context.activations.shape[2:]
        spread = self.gaussian == "yes" or (self.gaussian == "auto" and context.tokens)
        masks = _location_masks(height, width, spread)
        images = range(len(context.images))
        return np.stack([self._scores_of(context, image, masks) for image in images])

    def _scores_of(self, context: MethodContext, image: int, masks: Float32Array) -> Float32Array:
        logits = context.suffix_scores(image, masks[:, None])
        if self.scores == "probabilities":
            found = context.probability(image, logits).astype(np.float32)
        else:
            found = logits[:, context.targets[image]]
        return found.reshape(masks.shape[1:])


def _location_masks(height: int, width: int, spread: bool) -> Float32Array:
    """One mask per location, [h w, h, w], which keeps it alone or with a 3 x 3 Gaussian."""
    masks = np.eye(height * width, dtype=np.float32).reshape(-1, height, width)
    if not spread:
        return masks
    return np.stack([cv2.GaussianBlur(m, (3, 3), 0, borderType=cv2.BORDER_CONSTANT) for m in masks])
