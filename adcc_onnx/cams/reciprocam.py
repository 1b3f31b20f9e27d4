"""Recipro-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class ReciproCAM(Method):
    """The class score with one place of A kept at a time; the score is that place's pixel.

    Only what follows the layer is run, h w times; no ReLU. Of token layers the prefix tokens are
    kept. Byun and Lee, 2022, https://arxiv.org/abs/2209.14074; for transformers
    (https://arxiv.org/abs/2310.02588) a 3 x 3 Gaussian of places is kept instead of one.

    Attributes:
        scores: what the pixel is, "logits" or "probabilities".
        gaussian: keep a 3 x 3 Gaussian of places instead of a single one.
    """

    name = "reciprocam"
    family = "perturbation"
    summary = "each place by the score of the layer with nothing else left"
    cost = "1 + h w, tail only"
    needs = frozenset({Need.ACTIVATIONS, Need.SUFFIX_SCORES})

    scores: Literal["logits", "probabilities"] = "logits"
    gaussian: Literal["auto", "yes", "no"] = "auto"

    def raw_maps(self, context: MethodContext) -> Float32Array:
        height, width = context.activations.shape[2:]
        spread = self.gaussian == "yes" or (self.gaussian == "auto" and context.tokens)
        masks = places(height, width, spread)
        images = range(len(context.images))
        return np.stack([self._scores_of(context, image, masks) for image in images])

    def _scores_of(self, context: MethodContext, image: int, masks: Float32Array) -> Float32Array:
        logits = context.suffix_scores(image, masks[:, None])
        if self.scores == "probabilities":
            found = context.probability(image, logits).astype(np.float32)
        else:
            found = logits[:, context.targets[image]]
        return found.reshape(masks.shape[1:])


def places(height: int, width: int, spread: bool) -> Float32Array:
    """[h w, h, w]: mask m keeps place m alone, or with its neighbors by a 3 x 3 Gaussian."""
    masks = np.eye(height * width, dtype=np.float32).reshape(-1, height, width)
    if not spread:
        return masks
    return np.stack([cv2.GaussianBlur(m, (3, 3), 0, borderType=cv2.BORDER_CONSTANT) for m in masks])
