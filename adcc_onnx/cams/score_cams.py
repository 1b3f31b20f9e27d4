"""CAMs that weight channels by the score of the image seen through them: Score-CAM's relatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.gaussian_process import Prediction
from adcc_onnx.cams.method import Method, MethodContext, Need, check_noise
from adcc_onnx.cams.surrogate import expected_agreement, search
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.kernels.blas import single_threaded_blas
from adcc_onnx.kernels.gradient_maps import gradcam_weights, weighted_sum
from adcc_onnx.kernels.min_max_normalize import min_max_normalize

_KERNEL, _SIGMA = 51, 50.0  # pixels, of Group-CAM's blur


@dataclass(frozen=True)
class ScoreCAM(Method):
    """ReLU(sum_k w_k A_k) with w = softmax over k of s_c(x * up(minmax(A_k))).

    The paper subtracts the score of a black image, which cancels under the softmax. A_k is
    normalized at the layer's resolution, before it is upsampled. A constant channel cannot be
    normalized: its mask is zero everywhere, so that all constant channels share the score of the
    zero image.
    Wang et al., CVPR Workshops 2020, https://arxiv.org/abs/1910.01279.

    With `passes` or `agreement`, only the most promising channels are scored, and a Gaussian
    process over the masks predicts the others (see `cams.surrogate` and docs/results/scorecam.md).

    Attributes:
        scores: Definition of s_c: "logits" for y_c, or "probabilities" for c's softmax over the
            classes.
        weights: "softmax" of s_c over the channels, or "raw" for the increase
            s_c(masked) - s_c(0) over the zero image, negative if the mask lowers the score.
        passes: Maximum number of masks to score; 0 scores all of them.
        agreement: Expected Pearson correlation with the exact map, below 1, at which scoring
            stops; 0 scores all masks.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 3]]]], np.float32)
        >>> def score(images):  # one class, which only looks at the first pixel
        ...     return images[:, :, 0, 0]
        >>> context = ArrayContext(np.ones((1, 1, 1, 2), np.float32), a, score=score)
        >>> ScoreCAM().raw_maps(context).round(2)  # w = softmax(1, 0)
        array([[[0.73, 0.81]]], dtype=float32)
    """

    name = "scorecam"
    title = "Score-CAM"
    family = "score"
    summary = "channels weighted by the class score of the image masked with them"
    cost = "1 + active channels"
    needs = frozenset({Need.ACTIVATIONS, Need.MASKED_SCORES})

    scores: Literal["logits", "probabilities"] = "logits"
    weights: Literal["softmax", "raw"] = "softmax"
    passes: int = 0
    agreement: float = 0.0

    def __post_init__(self) -> None:
        if self.passes < 0 or not 0 <= self.agreement < 1:
            raise OptionError(f"{self.name}: passes must be at least 0, agreement in [0, 1)")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """ReLU(sum_k w_k A_k), [N, h, w]."""
        images = range(len(context.images))
        weights = np.stack([self._weights_of(context, image) for image in images])
        return weighted_sum(context.activations, weights)

    def _weights_of(self, context: MethodContext, image: int) -> Float64Array:
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
        return scores - blank if self.weights == "raw" else _softmax(scores)

    def _searched(
        self,
        context: MethodContext,
        image: int,
        distinct: Float32Array,
        blank: float,
        groups: NDArray[np.intp],
    ) -> Float64Array:
        """Scores of the distinct masks, most of them predicted, followed by the zero mask's."""
        activations = context.activations[image].reshape(len(groups), -1)
        masks = np.concatenate([distinct, np.zeros_like(distinct[:1])])
        summed = group_sums(activations, groups, len(masks))  # equal masks have equal weights

        def agreement(found: Prediction) -> float:
            return expected_agreement(found, lambda scores: self._maps(scores, summed))

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
            bound = math.floor(1000 * agreement(found)) / 1000  # rounded down: "above" stays true
        used = int(found.known.sum()) - 1
        context.note(image, f"{used} of {len(distinct)} passes, agreement above {bound:.3f}")
        return found.expected if self.weights == "softmax" else found.mean

    def _maps(self, scores: Float64Array, summed: Float64Array) -> Float64Array:
        """Maps [R, h w], up to a factor, for scores [R, M] of the distinct and the zero mask."""
        if self.weights == "raw":
            weights = scores - scores[:, -1:]
        else:
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        maps: Float64Array = np.maximum(weights @ summed, 0.0)
        return maps

    def mask_scores(self, context: MethodContext, image: int, masks: Float32Array) -> Float64Array:
        """s_c of one image behind each mask, [M].

        Args:
            context: The context of the batch.
            image: Index of the image in the batch.
            masks: The masks in [0, 1], [M, h, w].
        """
        return self._score(context, image, context.masked_scores(image, masks))

    def _score(self, context: MethodContext, image: int, logits: Float32Array) -> Float64Array:
        """s_c of logits [M, classes]: [M]."""
        if self.scores == "probabilities":
            return context.probability(image, logits)
        chosen: Float64Array = logits[:, context.targets[image]].astype(np.float64)
        return chosen


@dataclass(frozen=True)
class SSCAM(ScoreCAM):
    """Score-CAM whose w_k averages the score over n noisy copies of the normalized mask.

    Noise from N(0, sigma) is added at the layer's resolution, before the mask is upsampled.
    Naidu and Michael, 2020, https://arxiv.org/abs/2006.14255.

    Attributes:
        n: Number of noisy copies, at least 1. Each takes as many passes as Score-CAM.
        sigma: Standard deviation of the noise, at least 0.
        scores: Definition of s_c, see `ScoreCAM`.
        weights: Weighting of the channels, see `ScoreCAM`.
        passes: Maximum number of masks to score, see `ScoreCAM`.
        agreement: Correlation at which scoring stops, see `ScoreCAM`.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 3]]]], np.float32)
        >>> def score(images):
        ...     return images[:, :, 0, 0]
        >>> context = ArrayContext(np.ones((1, 1, 1, 2), np.float32), a, score=score)
        >>> SSCAM(n=4, sigma=0.0).raw_maps(context).round(2)  # without noise: Score-CAM
        array([[[0.73, 0.81]]], dtype=float32)
    """

    name = "sscam"
    title = "SS-CAM"
    summary = "Score-CAM with scores averaged over noisy copies of each mask"
    cost = "1 + n active channels"

    n: int = 35
    sigma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_noise(self.name, self.n, self.sigma)

    def mask_scores(self, context: MethodContext, image: int, masks: Float32Array) -> Float64Array:
        """The mean of s_c over noisy copies of each mask, [M]."""
        source = context.rngs()[image]
        total = np.zeros(len(masks))
        for _ in range(self.n):
            noise = source.standard_normal(masks.shape, np.float32) * np.float32(self.sigma)
            total += super().mask_scores(context, image, masks + noise)
        return total / self.n


@dataclass(frozen=True)
class ISCAM(ScoreCAM):
    """Score-CAM whose w_k averages the score over the masks i/n M_k, i = 1..n.

    Each of the n masks is scored separately; nothing accumulates from one to the next.
    Naidu, Ghosh, Maurya, K and Kundu, 2020, https://arxiv.org/abs/2010.03023.

    Attributes:
        n: Number of steps, at least 1. Each takes as many passes as Score-CAM.
        scores: Definition of s_c, see `ScoreCAM`.
        weights: Weighting of the channels, see `ScoreCAM`.
        passes: Maximum number of masks to score, see `ScoreCAM`.
        agreement: Correlation at which scoring stops, see `ScoreCAM`.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 3]]]], np.float32)
        >>> def score(images):
        ...     return images[:, :, 0, 0]
        >>> context = ArrayContext(np.ones((1, 1, 1, 2), np.float32), a, score=score)
        >>> ISCAM(n=3).raw_maps(context).round(2)  # w = softmax((1/3 + 2/3 + 1) / 3, 0)
        array([[[0.66, 1.02]]], dtype=float32)
    """

    name = "iscam"
    title = "IS-CAM"
    summary = "Score-CAM with scores averaged over masks of increasing strength"
    cost = "1 + n active channels"

    n: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise OptionError(f"iscam: n must be at least 1, not {self.n}")

    def mask_scores(self, context: MethodContext, image: int, masks: Float32Array) -> Float64Array:
        """The mean of s_c over the scaled copies of each mask, [M]."""
        steps = (np.float32(i / self.n) for i in range(1, self.n + 1))
        parts = [super(ISCAM, self).mask_scores(context, image, masks * step) for step in steps]
        total: Float64Array = np.sum(parts, axis=0)
        return total / self.n


@dataclass(frozen=True)
class GroupCAM(Method):
    """ReLU(sum_g w_g M_g), M_g the normalized map of a group of consecutive channels.

    The map of a group is ReLU(sum_k mean(g_k) A_k) over its channels. With b the image blurred by
    a 51 x 51 Gaussian of sigma 50, w_g = ReLU(p_c(x M_g + b (1 - M_g)) - p_c(b)). A group with a
    constant map has the weight 0. (The authors' code also sets the lower 70 % of each map to 0.)
    Zhang, Rao and Yang, 2021, https://arxiv.org/abs/2103.13859.

    Attributes:
        groups: Number of groups, at least 1.

    Raises:
        OptionError: The number of groups is below 1.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 3]]]], np.float32)
        >>> def score(images):  # two classes; the first one looks at the first pixel
        ...     return np.stack([images[:, 0, 0, 0], 0 * images[:, 0, 0, 0]], axis=1)
        >>> images = np.array([[[[4, 0]]]], np.float32)
        >>> context = ArrayContext(images, a, np.ones_like(a), score=score)
        >>> GroupCAM(groups=2).raw_maps(context)[0].argmax(axis=1)  # the first channel's pixel
        array([0])
    """

    name = "groupcam"
    title = "Group-CAM"
    family = "perturbation"
    summary = "groups of channels weighted by the class score that they restore in a blurred image"
    cost = "1 with backward + groups"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS, Need.BLENDED_SCORES})

    groups: int = 32

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise OptionError(f"groupcam: groups must be at least 1, not {self.groups}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The weighted sum of the groups' maps, [N, h, w]."""
        weights = gradcam_weights(context.gradients)
        images = range(len(context.images))
        return np.stack([self._map_of(context, image, weights[image]) for image in images])

    def _map_of(self, context: MethodContext, image: int, weights: Float32Array) -> Float32Array:
        activations = context.activations[image]
        weighted = weights[:, None, None].astype(np.float64) * activations
        parts = np.array_split(weighted, min(self.groups, len(weighted)))
        raw = np.stack([np.maximum(part.sum(axis=0), 0) for part in parts]).astype(np.float32)
        masks, constant = min_max_normalize(raw)
        blurred = _blur(context.images[image])
        with_blank = np.concatenate([np.zeros_like(masks[:1]), masks])
        p = context.probability(image, context.masked_scores(image, with_blank, blurred))
        gains = np.where(constant, 0.0, np.maximum(p[1:] - p[0], 0.0))
        found: Float32Array = np.tensordot(gains, masks, axes=1).astype(np.float32)
        return found


def group_sums(values: Float32Array, groups: NDArray[np.intp], count: int) -> Float64Array:
    """The sum of the rows of each group; 0 for an empty group.

    Args:
        values: The rows, [M, d].
        groups: The group of each row, [M], from 0 to count - 1.
        count: Number of groups.

    Returns:
        [count, d].
    """
    from scipy.sparse import csr_array

    rows = np.arange(len(groups))
    membership = csr_array((np.ones(len(rows)), (groups, rows)), shape=(count, len(rows)))
    found: Float64Array = membership @ values
    return found


def _softmax(values: Float64Array) -> Float64Array:
    """Softmax over the last axis; NaN if a value is NaN or the largest value is infinite."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Float64Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _blur(image: Float32Array) -> Float32Array:
    """The tensor [C, H, W] under a 51 x 51 Gaussian of sigma 50, mirrored at the borders."""
    # The mirrored border cannot be wider than the image.
    sides = [min(_KERNEL, 2 * side - 1) for side in (image.shape[2], image.shape[1])]
    planes = [
        cv2.GaussianBlur(plane, sides, _SIGMA, borderType=cv2.BORDER_REFLECT_101) for plane in image
    ]
    return np.stack(planes)
