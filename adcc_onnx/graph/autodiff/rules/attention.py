"""Scaled dot-product attention, written in simpler operators."""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.graph.autodiff.builder import BOOL, FLOAT, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import decomposition

_MASKED = -1e30  # its exponential is 0, and it stays finite where a whole row is masked


def attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None, softcap: float = 0
) -> Tensor:
    """softmax(scale Q K^T + bias) V of tensors [batch, heads, tokens, channels].

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 1.
    """
    scores = (query * scale).op("MatMul", key.transpose([0, 1, 3, 2]))
    if bias is not None:
        scores = scores + bias
    if softcap:
        scores = (scores / softcap).op("Tanh") * softcap
    return scores.op("Softmax", axis=-1).op("MatMul", value)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, tokens, heads channels] -> [batch, heads, tokens, channels]."""
    return x.reshape([0, 0, heads, -1]).transpose([0, 2, 1, 3])


def join_heads(x: Tensor) -> Tensor:
    """[batch, heads, tokens, channels] -> [batch, tokens, heads channels]."""
    return x.transpose([0, 2, 1, 3]).reshape([0, 0, -1])


def causal_bias(query: Tensor, key: Tensor) -> Tensor:
    """0 up to the query's own token, far below 0 after it; [query tokens, key tokens]."""
    builder = query.builder
    shape = builder.op(
        "Concat", query.op("Shape", start=2, end=3), key.op("Shape", start=2, end=3), axis=0
    )
    later = builder.op("Expand", builder.constant(_MASKED, FLOAT), shape)
    return later.op("Trilu", builder.constant(np.array(1, np.int64)), upper=1)


def channels_of(x: Tensor) -> int:
    """The size of the last axis."""
    size = None if x.dims is None else x.dims[-1]
    if not isinstance(size, int):
        raise UnsupportedNodeError("the number of its channels is not known")
    return size


def _repeated(x: Tensor, times: int) -> Tensor:
    """Heads shared by several queries, [batch, heads, ...] -> [batch, heads times, ...]."""
    if times == 1:
        return x
    builder, channels = x.builder, channels_of(x)
    wide = builder.op(
        "Concat", x.op("Shape", end=2), builder.ints(times), x.op("Shape", start=2), axis=0
    )
    copies = x.op("Unsqueeze", builder.ints(2)).op("Expand", wide)
    dims = x.dims or ()
    assert isinstance(dims[1], int)
    flat = builder.op(
        "Concat",
        x.op("Shape", end=1),
        builder.ints([dims[1] * times, -1, channels]),
        axis=0,
    )
    return copies.reshape(flat)


def attention(n: Call) -> Tensor:
    """The standard operator of opset 23"""
    if n.has(4) or n.has(5):
        raise UnsupportedNodeError("it takes past keys and values")
    query, key, value = n[0], n[1], n[2]
    flat = n.rank(0) == 3
    if flat:
        heads, shared = int(n.attribute("q_num_heads")), int(n.attribute("kv_num_heads"))
        query, key, value = (
            split_heads(query, heads),
            split_heads(key, shared),
            split_heads(value, shared),
        )
    else:
        heads, shared = n.size(1, 0), n.size(1, 1)
    key, value = _repeated(key, heads // shared), _repeated(value, heads // shared)
    scale = n.attribute("scale") or 1 / math.sqrt(channels_of(query))
    result = attend(query, key, value, scale, _bias(n, query, key), n.attribute("softcap", 0.0))
    return join_heads(result) if flat else result


def _bias(n: Call, query: Tensor, key: Tensor) -> Tensor | None:
    bias = None
    if n.has(3):
        bias = n[3].where(0.0, n.builder.constant(_MASKED, FLOAT)) if n[3].dtype == BOOL else n[3]
    if n.attribute("is_causal", 0):
        causal = causal_bias(query, key)
        bias = causal if bias is None else bias + causal
    return bias


decomposition("Attention", attention)
