"""Score-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Evidence, Floats, Method, Need
from adcc_onnx.cams.registry import method
from adcc_onnx.kernels.assembly import weighted_sum
from adcc_onnx.kernels.normalise import min_max


@method
@dataclass(frozen=True)
class ScoreCAM(Method):
    """ReLU(sum_k w_k A_k) with w = softmax over k of s_c(x * up(minmax(A_k))).

    Wang et al., CVPR Workshops 2020, https://arxiv.org/abs/1910.01279. The paper subtracts the
    score of a black image, which cancels under the softmax. A_k is normalised at the layer's
    resolution, before it is upsampled. A constant channel has no normalised form: its mask is zero
    everywhere, so that all of them share the one score of the zero image.

    Attributes:
        scores: what s_c is, "logits" (y_c) or "probabilities" (softmax over the classes, c's).
        weights: "softmax" of s_c over the channels, or "raw": the increase s_c(masked) - s_c(0)
            over the zero image itself, negative where the mask lowers the score.
    """

    name = "scorecam"
    family = "score"
    summary = "channels weighted by the score of the image seen through them"
    passes = "1 + live channels"
    needs = frozenset({Need.ACTIVATIONS, Need.MASKED_SCORES})

    scores: Literal["logits", "probabilities"] = "logits"
    weights: Literal["softmax", "raw"] = "softmax"

    def raw_maps(self, evidence: Evidence) -> Floats:
        images = range(len(evidence.images))
        weights = np.stack([self._weights_of(evidence, image) for image in images])
        return weighted_sum(evidence.activations, weights)

    def _weights_of(self, evidence: Evidence, image: int) -> NDArray[np.float64]:
        masks, constant = min_max(evidence.activations[image])
        blank = float(self._score(evidence, image, evidence.blank_scores()[None])[0])
        scores = np.full(len(masks), blank)
        if not constant.all():
            # Equal masks have equal scores: each is run once.
            flat = masks[~constant].reshape(np.count_nonzero(~constant), -1)
            _, first, which = np.unique(flat, axis=0, return_index=True, return_inverse=True)
            found = self.mask_scores(evidence, image, masks[~constant][first])
            scores[~constant] = found[which.reshape(-1)]
        return scores - blank if self.weights == "raw" else softmax(scores)

    def mask_scores(self, evidence: Evidence, image: int, masks: Floats) -> NDArray[np.float64]:
        """s_c of the image behind each mask, `masks` [M, h, w] in [0, 1]: [M]."""
        return self._score(evidence, image, evidence.masked_scores(image, masks))

    def _score(self, evidence: Evidence, image: int, logits: Floats) -> NDArray[np.float64]:
        """s_c of logits [M, classes]: [M]."""
        if self.scores == "probabilities":
            return evidence.probability(image, logits)
        chosen: NDArray[np.float64] = logits[:, evidence.targets[image]].astype(np.float64)
        return chosen


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over the last axis; NaN where a value is NaN or the greatest one infinite."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares
