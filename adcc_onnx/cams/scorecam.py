"""Score-CAM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import method
from adcc_onnx.cams.surrogate import Prediction, expected_agreement, search
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.blas import single_threaded_blas
from adcc_onnx.kernels.gradient_maps import weighted_sum
from adcc_onnx.kernels.min_max_normalize import min_max_normalize


@method
@dataclass(frozen=True)
class ScoreCAM(Method):
    """ReLU(sum_k w_k A_k) with w = softmax over k of s_c(x * up(minmax(A_k))).

    Wang et al., CVPR Workshops 2020, https://arxiv.org/abs/1910.01279. The paper subtracts the
    score of a black image, which cancels under the softmax. A_k is normalized at the layer's
    resolution, before it is upsampled. A constant channel has no normalized form: its mask is zero
    everywhere, so that all of them share the one score of the zero image.

    With `passes` or `agreement`, only the most promising channels are scored, and a Gaussian
    process over the masks predicts the others (see `cams.surrogate`, docs/scorecam.md).

    Attributes:
        scores: what s_c is, "logits" (y_c) or "probabilities" (softmax over the classes, c's).
        weights: "softmax" of s_c over the channels, or "raw": the increase s_c(masked) - s_c(0)
            over the zero image itself, negative where the mask lowers the score.
        passes: the most masks to score; 0 for all of them.
        agreement: score masks until the map's Pearson correlation with the exact one is expected
            to be at least this, below 1; 0 for all of them.

    Raises:
        OptionError: passes or agreement is out of its range.
    """

    name = "scorecam"
    family = "score"
    summary = "channels weighted by the score of the image seen through them"
    cost = "1 + live channels"
    needs = frozenset({Need.ACTIVATIONS, Need.MASKED_SCORES})

    scores: Literal["logits", "probabilities"] = "logits"
    weights: Literal["softmax", "raw"] = "softmax"
    passes: int = 0
    agreement: float = 0.0

    def __post_init__(self) -> None:
        if self.passes < 0 or not 0 <= self.agreement < 1:
            raise OptionError(f"{self.name}: passes must be at least 0, agreement in [0, 1)")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        images = range(len(context.images))
        weights = np.stack([self._weights_of(context, image) for image in images])
        return weighted_sum(context.activations, weights)

    def _weights_of(self, context: MethodContext, image: int) -> NDArray[np.float64]:
        activations = context.activations[image]
        masks, constant = min_max_normalize(activations)
        blank = float(self._score(context, image, context.blank_scores()[None])[0])
        scores = np.full(len(masks), blank)
        if not constant.all():
            # Equal masks have equal scores: each is run once.
            flat = masks[~constant].reshape(np.count_nonzero(~constant), -1)
            _, first, which = np.unique(flat, axis=0, return_index=True, return_inverse=True)
            groups = np.full(len(masks), len(first))
            groups[~constant] = which.reshape(-1)
            distinct = masks[~constant][first]
            if self.passes or self.agreement:
                scores = self._searched(context, image, distinct, blank, groups)[groups]
            else:
                scores = np.append(self.mask_scores(context, image, distinct), blank)[groups]
        return scores - blank if self.weights == "raw" else softmax(scores)

    def _searched(
        self,
        context: MethodContext,
        image: int,
        distinct: Float32Array,
        blank: float,
        groups: NDArray[np.intp],
    ) -> NDArray[np.float64]:
        """Scores of the distinct masks, most of them predicted, and last of the zero mask."""
        activations = context.activations[image].reshape(len(groups), -1)
        masks = np.concatenate([distinct, np.zeros_like(distinct[:1])])
        summed = sums(activations, groups, len(masks))  # channels of one mask have one weight

        def agreement(found: Prediction) -> float:
            return expected_agreement(found, lambda scores: self._map(scores, summed))

        with single_threaded_blas():
            found = search(
                masks,
                blank,
                lambda chosen: self.mask_scores(context, image, masks[chosen]),
                self.passes or len(distinct),
                lambda found: bool(self.agreement) and agreement(found) >= self.agreement,
            )
            if np.isnan(found.mean).any():
                return found.mean
            surely = math.floor(1000 * agreement(found)) / 1000  # "above" must stay true
        used = int(found.known.sum()) - 1
        context.note(image, f"{used} of {len(distinct)} passes, agreement above {surely:.3f}")
        return found.expected if self.weights == "softmax" else found.mean

    def _map(self, scores: NDArray[np.float64], summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maps [R, h w], up to a factor, of scores [R, M] of the distinct and the zero mask."""
        if self.weights == "raw":
            weights = scores - scores[:, -1:]
        else:
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        maps: NDArray[np.float64] = np.maximum(weights @ summed, 0.0)
        return maps

    def mask_scores(
        self, context: MethodContext, image: int, masks: Float32Array
    ) -> NDArray[np.float64]:
        """s_c of the image behind each mask, `masks` [M, h, w] in [0, 1]: [M]."""
        return self._score(context, image, context.masked_scores(image, masks))

    def _score(
        self, context: MethodContext, image: int, logits: Float32Array
    ) -> NDArray[np.float64]:
        """s_c of logits [M, classes]: [M]."""
        if self.scores == "probabilities":
            return context.probability(image, logits)
        chosen: NDArray[np.float64] = logits[:, context.targets[image]].astype(np.float64)
        return chosen


def sums(values: Float32Array, groups: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """The sum of the rows of each group, [count, d], of `values` [M, d]; 0 for an empty group."""
    from scipy.sparse import csr_array

    rows = np.arange(len(groups))
    belongs = csr_array((np.ones(len(rows)), (groups, rows)), shape=(count, len(rows)))
    found: NDArray[np.float64] = belongs @ values
    return found


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over the last axis; NaN where a value is NaN or the greatest one infinite."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares
