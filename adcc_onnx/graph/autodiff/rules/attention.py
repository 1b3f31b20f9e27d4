"""Decomposition of scaled dot-product attention into simpler operators."""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.graph.autodiff.builder import BOOL, FLOAT, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import decomposition

# Bias of masked tokens: its exponential is 0, and unlike -inf it gives no NaN in a row that is
# masked completely.
_MASKED = -1e30


def attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None, softcap: float = 0
) -> Tensor:
    """Build softmax(scale Q K^T + bias) V on tensors [batch, heads, tokens, channels].

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 1.

    Args:
        query: Queries Q.
        key: Keys K.
        value: Values V.
        scale: Factor of the queries.
        bias: Bias of the scores, broadcast to [batch, heads, query tokens, key tokens], or None.
        softcap: Bound of the scores, softcap tanh(scores / softcap); 0 for none.

    Returns:
        The attended values [batch, heads, query tokens, value channels].
    """
    scores = (query * scale).op("MatMul", key.transpose([0, 1, 3, 2]))
    if bias is not None:
        scores = scores + bias
    if softcap:
        scores = (scores / softcap).op("Tanh") * softcap
    return scores.op("Softmax", axis=-1).op("MatMul", value)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshape [batch, tokens, heads * channels] to [batch, heads, tokens, channels]."""
    return x.reshape([0, 0, heads, -1]).transpose([0, 2, 1, 3])


def join_heads(x: Tensor) -> Tensor:
    """Reshape [batch, heads, tokens, channels] to [batch, tokens, heads * channels]."""
    return x.transpose([0, 2, 1, 3]).reshape([0, 0, -1])


def causal_bias(query: Tensor, key: Tensor) -> Tensor:
    """Build the bias [query tokens, key tokens] that masks the tokens after the query token."""
    builder = query.builder
    shape = builder.op(
        "Concat", query.op("Shape", start=2, end=3), key.op("Shape", start=2, end=3), axis=0
    )
    masked = builder.op("Expand", builder.constant(_MASKED, FLOAT), shape)
    return masked.op("Trilu", builder.constant(np.array(1, np.int64)), upper=1)


def channels_of(x: Tensor) -> int:
    """Return the fixed size of the last axis.

    Raises:
        UnsupportedNodeError: The size is symbolic or unknown.
    """
    size = None if x.dims is None else x.dims[-1]
    if not isinstance(size, int):
        raise UnsupportedNodeError("the number of its channels is not fixed")
    return size


def _repeat_heads(x: Tensor, times: int) -> Tensor:
    """Repeat each head, for queries that share keys: [batch, heads * times, ...]."""
    if times == 1:
        return x
    builder, channels = x.builder, channels_of(x)
    shape = builder.op(
        "Concat", x.op("Shape", end=2), builder.ints(times), x.op("Shape", start=2), axis=0
    )
    copies = x.op("Unsqueeze", builder.ints(2)).op("Expand", shape)
    dims = x.dims or ()
    assert isinstance(dims[1], int)
    sizes = builder.ints([dims[1] * times, -1, channels])
    return copies.reshape(builder.op("Concat", x.op("Shape", end=1), sizes, axis=0))


def attention(n: Call) -> Tensor:
    """Attention of opset 23: softmax(scale Q K^T + bias) V."""
    if n.has(4) or n.has(5):
        raise UnsupportedNodeError("it reads past keys and values")
    query, key, value = n[0], n[1], n[2]
    joined = n.rank(0) == 3
    if joined:
        heads, kv_heads = int(n.attribute("q_num_heads")), int(n.attribute("kv_num_heads"))
        query = split_heads(query, heads)
        key, value = split_heads(key, kv_heads), split_heads(value, kv_heads)
    else:
        heads, kv_heads = n.size(1, 0), n.size(1, 1)
    key, value = _repeat_heads(key, heads // kv_heads), _repeat_heads(value, heads // kv_heads)
    scale = n.attribute("scale") or 1 / math.sqrt(channels_of(query))
    result = attend(query, key, value, scale, _bias(n, query, key), n.attribute("softcap", 0.0))
    return join_heads(result) if joined else result


def _bias(n: Call, query: Tensor, key: Tensor) -> Tensor | None:
    bias = None
    if n.has(3):
        bias = n[3].where(0.0, n.builder.constant(_MASKED, FLOAT)) if n[3].dtype == BOOL else n[3]
    if n.attribute("is_causal", 0):
        causal = causal_bias(query, key)
        bias = causal if bias is None else bias + causal
    return bias


decomposition("Attention", attention)
