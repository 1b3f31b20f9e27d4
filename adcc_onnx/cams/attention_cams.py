"""Maps from the attentions of a transformer, of all blocks or of the last one.

The map shows what the tokens that the scores read (the class token, or the pooled tokens) get from
the token of each image patch. The layer has no influence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array


@dataclass(frozen=True)
class AttentionRollout(Method):
    """The row of the read tokens in the product of (I + mean_h A) / 2 over all blocks.

    A is the attention of a block and h its heads; I stands for the residual connection. The map
    does not depend on the class.
    Abnar and Zuidema, ACL 2020, https://arxiv.org/abs/2005.00928.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> from adcc_onnx.cams.token_grid import TokenGrid
        >>> a = np.array([[[[0.5, 0.3, 0.2], [0, 1, 0], [0, 0, 1]]]], np.float32)
        >>> context = ArrayContext(attentions=[a], token_grid=TokenGrid((1, 2), 1))
        >>> AttentionRollout().raw_maps(context)  # half of what the class token attends to
        array([[[0.15, 0.1 ]]], dtype=float32)
    """

    name = "rollout"
    title = "Attention rollout"
    family = "attention"
    summary = "attention multiplied over all blocks, whatever the class"
    cost = "1"
    needs = frozenset({Need.ATTENTIONS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The attention of the read tokens through all blocks, [N, h, w]."""
        relevance = _readout(context)
        for attention in reversed(context.attentions):
            passed = _times(relevance, attention.mean(axis=1, dtype=np.float64))
            relevance = (relevance + passed) / 2
        return context.token_grid.fold(relevance)


@dataclass(frozen=True)
class Chefer(Method):
    """The row of the read tokens in the product of I + mean_h ReLU(A dy_c/dA) over all blocks.

    Chefer, Gur and Wolf, ICCV 2021, https://arxiv.org/abs/2103.15679. It replaces the layer-wise
    relevance propagation of their earlier method (CVPR 2021), whose rules are not defined for
    arbitrary operators, by the attention itself.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> from adcc_onnx.cams.token_grid import TokenGrid
        >>> a = np.array([[[[0.5, 0.3, 0.2], [0, 1, 0], [0, 0, 1]]]], np.float32)
        >>> g = np.array([[[[1, 2, -1], [0, 0, 0], [0, 0, 0]]]], np.float32)
        >>> context = ArrayContext(
        ...     attentions=[a], attention_gradients=[g], token_grid=TokenGrid((1, 2), 1)
        ... )
        >>> Chefer().raw_maps(context)
        array([[[0.6, 0. ]]], dtype=float32)
    """

    name = "chefer"
    title = "Generic attention (Chefer et al.)"
    family = "attention"
    summary = "attention times its positive gradient, multiplied over all blocks"
    cost = "1 with full backward"
    needs = frozenset({Need.ATTENTIONS, Need.ATTENTION_GRADIENTS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The relevance of each patch for the read tokens, [N, h, w]."""
        relevance = _readout(context)
        pairs = zip(context.attentions, context.attention_gradients, strict=True)
        for attention, gradient in reversed(list(pairs)):
            relevance = relevance + _times(relevance, _positive(attention, gradient))
        return context.token_grid.fold(relevance)


@dataclass(frozen=True)
class AttentionCAM(Method):
    """Grad-CAM on the last attention: ReLU(sum_h w_h A_h), A_h the row of the read tokens.

    w_h is the mean gradient of the row over the image patches. It equals Grad-CAM with the last
    attention as the layer.
    Chefer, Gur and Wolf, CVPR 2021, https://arxiv.org/abs/2012.09838 (a baseline there).

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> from adcc_onnx.cams.token_grid import TokenGrid
        >>> a = np.array([[[[0.5, 0.3, 0.2], [0, 1, 0], [0, 0, 1]]]], np.float32)
        >>> g = np.array([[[[1, 2, -1], [0, 0, 0], [0, 0, 0]]]], np.float32)  # w = 0.5
        >>> context = ArrayContext(
        ...     attentions=[a], attention_gradients=[g], token_grid=TokenGrid((1, 2), 1)
        ... )
        >>> AttentionCAM().raw_maps(context)
        array([[[0.15, 0.1 ]]], dtype=float32)
    """

    name = "attentioncam"
    title = "AttentionCAM"
    family = "attention"
    summary = "Grad-CAM on the heads of the last attention"
    cost = "1 with full backward"
    needs = frozenset({Need.ATTENTIONS, Need.ATTENTION_GRADIENTS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The heads' attention weighted by their mean gradients, [N, h, w]."""
        tokens = context.token_grid
        start, stop = tokens.read
        last = context.attentions[-1], context.attention_gradients[-1]
        attention, gradient = (
            values[:, :, start:stop].mean(axis=2, dtype=np.float64) for values in last
        )
        weights = gradient[:, :, tokens.prefix_tokens :].mean(axis=2, keepdims=True)
        return tokens.fold(np.maximum((weights * attention).sum(axis=1), 0))


@dataclass(frozen=True)
class AttCAT(Method):
    """sum over blocks of (mean_hq A)_i sum_d x_id dy_c/dx_id for token i, x the block's input.

    The attention is averaged over heads and query tokens. There is no ReLU.
    Qiang et al., NeurIPS 2022, https://openreview.net/forum?id=cA8Zor8wFr5.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> from adcc_onnx.cams.token_grid import TokenGrid
        >>> a = np.array([[[[0.5, 0.3, 0.2], [0, 1, 0], [0, 0, 1]]]], np.float32)
        >>> x = np.array([[[1, 1], [3, 0], [0, 5]]], np.float32)
        >>> context = ArrayContext(
        ...     attentions=[a],
        ...     block_tokens=[x, x],
        ...     block_gradients=[np.ones_like(x), np.ones_like(x)],
        ...     token_grid=TokenGrid((1, 2), 1),
        ... )
        >>> AttCAT().raw_maps(context)
        array([[[1.3, 2. ]]], dtype=float32)
    """

    name = "attcat"
    title = "AttCAT"
    family = "attention"
    summary = "each token times its gradient, weighted by attention, summed over all blocks"
    cost = "1 with full backward"
    needs = frozenset({Need.ATTENTIONS, Need.BLOCK_TOKENS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The impact of each patch, [N, h, w]."""
        entering = context.block_tokens[:-1], context.block_gradients[:-1]
        total: Float64Array = np.zeros(entering[0][0].shape[:2])
        for attention, tokens, gradient in zip(context.attentions, *entering, strict=True):
            impact = (tokens.astype(np.float64) * gradient).sum(axis=2)
            total += attention.mean(axis=(1, 2), dtype=np.float64) * impact
        return context.token_grid.fold(total)


@dataclass(frozen=True)
class LeGrad(Method):
    """The mean over blocks, heads and query tokens of ReLU(dy_c^l / dA^l).

    y_c^l is the logit that the head gives for the mean of the tokens that leave block l.
    Bousselham et al., ICCV 2025, https://arxiv.org/abs/2404.03214.

    Attributes:
        blocks: Number of last blocks that are averaged, or 0 for all of them.

    Raises:
        OptionError: The number of blocks is negative.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> from adcc_onnx.cams.token_grid import TokenGrid
        >>> g = np.array([[[[1, 3, -1], [0, 0, 0], [0, 0, 6]]]], np.float32)
        >>> context = ArrayContext(block_score_gradients=[g], token_grid=TokenGrid((1, 2), 1))
        >>> LeGrad().raw_maps(context)
        array([[[1., 2.]]], dtype=float32)
    """

    name = "legrad"
    title = "LeGrad"
    family = "attention"
    summary = "positive gradients of each block's own score in its attention"
    cost = "1 + 1 with backward"
    needs = frozenset({Need.BLOCK_SCORE_GRADIENTS})

    blocks: int = 0

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise OptionError(f"legrad: blocks must be at least 0, not {self.blocks}")

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The mean positive gradient of each patch, [N, h, w]."""
        chosen = context.block_score_gradients[-self.blocks :]
        means = [np.maximum(g, 0).mean(axis=(1, 2), dtype=np.float64) for g in chosen]
        return context.token_grid.fold(np.mean(means, axis=0))


@dataclass(frozen=True)
class TokenTM(Method):
    """Chefer's map, weighted by what every block makes of each token alone.

    C_0 = diag(|x_i|), with x_i the tokens that enter the first block, and
    C_l = C_{l-1} + U_l C_{l-1} with U_l = mean_h ReLU(A dy_c/dA) diag(w) for block l. The map is
    the row of the read tokens in the last C. The weight of token i is
    w_i = |e~_i| / |e_i| * exp(cos(e_i, e~_i)) / mean_k exp(cos(e_k, e~_k)), with e_i the input of
    the value projection and e~_i = e_i W_V W_O what the value and output projections of the block,
    with their biases, make of this token alone. w_i is 0 for a token of length 0.

    Wu et al., CVPR 2024, https://arxiv.org/abs/2403.14552. The formulas are our reading of the
    abstract; the authors' code was not available for comparison.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> from adcc_onnx.cams.token_grid import TokenGrid
        >>> a = np.array([[[[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1]]]], np.float32)
        >>> x = np.array([[[1, 1], [3, 0], [0, 5]]], np.float32)
        >>> context = ArrayContext(
        ...     attentions=[a],
        ...     attention_gradients=[np.ones_like(a)],
        ...     block_tokens=[x, x],
        ...     token_transforms=[(x, 2 * x)],  # all tokens become twice as long
        ...     token_grid=TokenGrid((1, 2), 1),
        ... )
        >>> TokenTM().raw_maps(context)  # 0.25 * 2 * 3 and 0.25 * 2 * 5
        array([[[1.5, 2.5]]], dtype=float32)
    """

    name = "tokentm"
    title = "TokenTM"
    family = "attention"
    summary = "attention times its positive gradient, weighted by how each block changes tokens"
    cost = "1 with full backward"
    needs = frozenset(
        {Need.ATTENTIONS, Need.ATTENTION_GRADIENTS, Need.BLOCK_TOKENS, Need.TOKEN_TRANSFORMS}
    )

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The contribution of each patch to the read tokens, [N, h, w]."""
        relevance = _readout(context)
        attentions = context.attentions, context.attention_gradients
        blocks = list(zip(*attentions, context.token_transforms, strict=True))
        for attention, gradient, (before, after) in reversed(blocks):
            attended = _times(relevance, _positive(attention, gradient))
            relevance = relevance + attended * _transformation_weights(before, after)
        lengths = np.linalg.norm(context.block_tokens[0].astype(np.float64), axis=2)
        return context.token_grid.fold(relevance * lengths)


def _readout(context: MethodContext) -> Float64Array:
    """What the scores read of each token, [N, tokens]."""
    return np.repeat(context.token_grid.readout()[None], len(context.attentions[0]), axis=0)


def _times(relevance: Float64Array, matrices: Float64Array) -> Float64Array:
    """The products of rows [N, tokens] and matrices [N, tokens, tokens]."""
    products: Float64Array = np.einsum("nq,nqk->nk", relevance, matrices)
    return products


def _positive(attention: Float32Array, gradient: Float32Array) -> Float64Array:
    """The mean over heads of ReLU(A dy/dA), [N, tokens, tokens]."""
    mean: Float64Array = np.maximum(attention * gradient, 0).mean(axis=1, dtype=np.float64)
    return mean


def _transformation_weights(before: Float32Array, after: Float32Array) -> Float64Array:
    """How much longer each token becomes, times its relative likeness in direction, [N, tokens]."""
    old, new = before.astype(np.float64), after.astype(np.float64)
    old_lengths, new_lengths = (np.linalg.norm(tokens, axis=2) for tokens in (old, new))
    cosines = _ratio(np.einsum("ntc,ntc->nt", old, new), old_lengths * new_lengths)
    likeness = np.exp(cosines)
    relative: Float64Array = likeness / likeness.mean(axis=1, keepdims=True)
    return _ratio(new_lengths, old_lengths) * relative


def _ratio(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """The ratios, 0 where the denominator is 0."""
    zeros = np.zeros_like(denominator)
    ratios: Float64Array = np.divide(numerator, denominator, out=zeros, where=denominator != 0)
    return ratios
