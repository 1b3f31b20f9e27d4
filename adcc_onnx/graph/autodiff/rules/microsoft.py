"""Decomposition of the operators that onnxruntime's optimizer writes into saved models.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from adcc_onnx.graph.autodiff.builder import FLOAT, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.attention import (
    attend,
    causal_bias,
    channels_of,
    join_heads,
    split_heads,
)
from adcc_onnx.graph.autodiff.rules.rule_registry import MICROSOFT, Formula, decomposition


def _gelu_exact(x: Tensor) -> Tensor:
    """Gelu: y = x Phi(x), Phi the normal distribution."""
    return 0.5 * x * (1.0 + (x / math.sqrt(2.0)).op("Erf"))


def _gelu_tanh(x: Tensor) -> Tensor:
    """Gelu, approximated by tanh: y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1.0 + inner.op("Tanh"))


def fast_gelu(n: Call) -> Tensor:
    """FastGelu: Gelu of x + bias, approximated by tanh."""
    return _gelu_tanh(n[0] + n[1] if n.has(1) else n[0])


def quick_gelu(n: Call) -> Tensor:
    """QuickGelu: y = x sigmoid(alpha x)."""
    return n[0] * (n[0] * float(n.attribute("alpha", 1.702))).op("Sigmoid")


def _activate(x: Tensor, n: Call, parameters: list[float]) -> Tensor:
    """Apply the activation that a fused operator names."""
    match n.attribute("activation"), parameters:
        case None, _:
            return x
        case "Relu" | "Tanh" | "Sigmoid" as name, _:
            return x.op(name)
        case "LeakyRelu", [alpha, *_]:
            return x.op("LeakyRelu", alpha=alpha)
        case "HardSigmoid", [alpha, beta, *_]:
            return x.op("HardSigmoid", alpha=alpha, beta=beta)
        case "Clip", [low, high, *_]:
            return x.op("Clip", n.builder.constant(low, FLOAT), n.builder.constant(high, FLOAT))
    raise UnsupportedNodeError(f"its activation '{n.attribute('activation')}' is not supported")


def fused_conv(n: Call) -> Tensor:
    """FusedConv: y = activation(x * w + b + z)."""
    names = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    attributes = {name: n.attribute(name) for name in names}
    y = n[0].op("Conv", n[1], n[2] if n.has(2) else None, **attributes)
    parameters = [float(p) for p in n.attribute("activation_params", [])]
    return _activate(y + n[3] if n.has(3) else y, n, parameters)


def fused_gemm(n: Call) -> Tensor:
    """FusedGemm: y = activation(Gemm(A, B, C))."""
    names = ("alpha", "beta", "transA", "transB")
    attributes = {name: n.attribute(name) for name in names}
    values = (n.attribute(f"activation_{name}") for name in ("alpha", "beta", "gamma"))
    parameters = [float(value) for value in values if value is not None]
    return _activate(n[0].op("Gemm", n[1], n[2] if n.has(2) else None, **attributes), n, parameters)


def fused_matmul(n: Call) -> Tensor:
    """FusedMatMul: y = alpha A B, each factor optionally transposed."""
    if n.attribute("transBatchA", 0) or n.attribute("transBatchB", 0):
        raise UnsupportedNodeError("it transposes batch axes")
    left, right = (_transpose_if(n, i, f"trans{'AB'[i]}") for i in (0, 1))
    return left.op("MatMul", right) * float(n.attribute("alpha", 1.0))


def _transpose_if(n: Call, index: int, attribute: str) -> Tensor:
    """The input with its last two axes swapped if the attribute is set."""
    if not n.attribute(attribute, 0):
        return n[index]
    rank = n.rank(index)
    return n[index].transpose([*range(rank - 2), rank - 1, rank - 2])


def skip_layer_normalization(n: Call) -> list[Tensor | None]:
    """SkipLayerNormalization of x, skip, gamma, beta, bias; output 4 is x + skip + bias."""
    total = n[0] + n[1]
    if n.has(4):
        total = total + n[4]
    normalized = total.op(
        "LayerNormalization",
        n[2],
        n[3] if n.has(3) else None,
        axis=-1,
        epsilon=n.attribute("epsilon", 1e-12),
    )
    return [normalized, None, None, total]


def attention(n: Call) -> Tensor:
    """Attention of x, weights, bias, mask_index, past, attention_bias."""
    for index, name in ((3, "a mask"), (4, "past keys and values")):
        if n.has(index):
            raise UnsupportedNodeError(f"it reads {name}")
    heads, width = int(n.attribute("num_heads")), n.size(1, 1)
    packed = n[0].op("MatMul", n[1])
    packed = packed + n[2] if n.has(2) else packed
    sizes = n.attribute("qkv_hidden_sizes") or [width // 3] * 3
    parts = n.builder.op_outputs("Split", packed, n.builder.ints(sizes), count=3, axis=2)
    bias = n[5] if n.has(5) else None
    return _multi_head(n, parts, heads, bias, bool(n.attribute("unidirectional", 0)))


def multi_head_attention(n: Call) -> Tensor:
    """MultiHeadAttention of query, key, value, bias, key_padding_mask, attention_bias.

    Further inputs are past keys and values.
    """
    for index, name in ((4, "a mask"), (6, "past keys"), (7, "past values")):
        if n.has(index):
            raise UnsupportedNodeError(f"it reads {name}")
    if not (n.has(1) and n.has(2)) or any(n.rank(i) != 3 for i in range(3)):
        raise UnsupportedNodeError("its queries, keys and values are packed into one tensor")
    parts = [n[i] for i in range(3)]
    if n.has(3):
        sizes = n.builder.ints([channels_of(part) for part in parts])
        biases = n.builder.op_outputs("Split", n[3], sizes, count=3, axis=0)
        parts = [part + bias for part, bias in zip(parts, biases, strict=True)]
    bias = n[5] if n.has(5) else None
    causal = bool(n.attribute("unidirectional", 0))
    return _multi_head(n, parts, int(n.attribute("num_heads")), bias, causal)


def _multi_head(
    n: Call, parts: list[Tensor], heads: int, bias: Tensor | None, causal: bool
) -> Tensor:
    query, key, value = (split_heads(part, heads) for part in parts)
    if causal:
        causal_mask = causal_bias(query, key)
        bias = causal_mask if bias is None else bias + causal_mask
    scale = n.attribute("scale") or 1 / math.sqrt(channels_of(parts[0]) // heads)
    return join_heads(attend(query, key, value, scale, bias))


def _unary(function: Callable[[Tensor], Tensor]) -> Formula:
    return lambda n: function(n[0])


_register = functools.partial(decomposition, domain=MICROSOFT)
_register("Gelu", _unary(_gelu_exact))
_register("QuickGelu", quick_gelu)
_register("FastGelu", fast_gelu)
_register("BiasGelu", lambda n: _gelu_exact(n[0] + n[1]))
_register("FusedConv", fused_conv)
_register("FusedGemm", fused_gemm)
_register("FusedMatMul", fused_matmul)
_register("SkipLayerNormalization", skip_layer_normalization)
_register("Attention", attention)
_register("MultiHeadAttention", multi_head_attention)
