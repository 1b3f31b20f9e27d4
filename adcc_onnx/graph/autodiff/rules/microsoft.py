"""Operators of onnxruntime, which its optimizer leaves in saved models, in standard ones.

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


def gelu_erf(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + (x / math.sqrt(2.0)).op("Erf"))


def gelu_tanh(x: Tensor) -> Tensor:
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1.0 + inner.op("Tanh"))


def fast_gelu(n: Call) -> Tensor:
    return gelu_tanh(n[0] + n[1] if n.has(1) else n[0])


def quick_gelu(n: Call) -> Tensor:
    return n[0] * (n[0] * float(n.attribute("alpha", 1.702))).op("Sigmoid")


def activate(x: Tensor, n: Call, parameters: list[float]) -> Tensor:
    """The activation that a fused operator names, with its parameters."""
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
    raise UnsupportedNodeError(f"its activation '{n.attribute('activation')}' is not known")


def fused_conv(n: Call) -> Tensor:
    names = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    attributes = {name: n.attribute(name) for name in names}
    y = n[0].op("Conv", n[1], n[2] if n.has(2) else None, **attributes)
    parameters = [float(p) for p in n.attribute("activation_params", [])]
    return activate(y + n[3] if n.has(3) else y, n, parameters)


def fused_gemm(n: Call) -> Tensor:
    names = ("alpha", "beta", "transA", "transB")
    attributes = {name: n.attribute(name) for name in names}
    given = (n.attribute(f"activation_{name}") for name in ("alpha", "beta", "gamma"))
    parameters = [float(p) for p in given if p is not None]
    return activate(n[0].op("Gemm", n[1], n[2] if n.has(2) else None, **attributes), n, parameters)


def fused_matmul(n: Call) -> Tensor:
    if n.attribute("transBatchA", 0) or n.attribute("transBatchB", 0):
        raise UnsupportedNodeError("it transposes batch axes")
    left, right = (_turned(n, i, f"trans{'AB'[i]}") for i in (0, 1))
    return left.op("MatMul", right) * float(n.attribute("alpha", 1.0))


def _turned(n: Call, index: int, attribute: str) -> Tensor:
    if not n.attribute(attribute, 0):
        return n[index]
    rank = n.rank(index)
    return n[index].transpose([*range(rank - 2), rank - 1, rank - 2])


def skip_layer_normalization(n: Call) -> list[Tensor | None]:
    """Inputs are x, skip, gamma, beta, bias; the fourth output is x + skip + bias."""
    total = n[0] + n[1]
    if n.has(4):
        total = total + n[4]
    normal = total.op(
        "LayerNormalization",
        n[2],
        n[3] if n.has(3) else None,
        axis=-1,
        epsilon=n.attribute("epsilon", 1e-12),
    )
    return [normal, None, None, total]


def attention(n: Call) -> Tensor:
    """Inputs are x, weights, bias, mask_index, past, attention_bias."""
    for index, what in ((3, "a mask"), (4, "past keys and values")):
        if n.has(index):
            raise UnsupportedNodeError(f"it takes {what}")
    heads, width = int(n.attribute("num_heads")), n.size(1, 1)
    packed = n[0].op("MatMul", n[1])
    packed = packed + n[2] if n.has(2) else packed
    sizes = n.attribute("qkv_hidden_sizes") or [width // 3] * 3
    parts = n.builder.op_outputs("Split", packed, n.builder.ints(sizes), count=3, axis=2)
    bias = n[5] if n.has(5) else None
    return _attended(n, parts, heads, bias, bool(n.attribute("unidirectional", 0)))


def multi_head_attention(n: Call) -> Tensor:
    """Inputs are query, key, value, bias, key_padding_mask, attention_bias, and past ones."""
    for index, what in ((4, "a mask"), (6, "past keys"), (7, "past values")):
        if n.has(index):
            raise UnsupportedNodeError(f"it takes {what}")
    if not (n.has(1) and n.has(2)) or any(n.rank(i) != 3 for i in range(3)):
        raise UnsupportedNodeError("its queries, keys and values are packed into one tensor")
    parts = [n[i] for i in range(3)]
    if n.has(3):
        sizes = n.builder.ints([channels_of(part) for part in parts])
        biases = n.builder.op_outputs("Split", n[3], sizes, count=3, axis=0)
        parts = [part + bias for part, bias in zip(parts, biases, strict=True)]
    bias = n[5] if n.has(5) else None
    causal = bool(n.attribute("unidirectional", 0))
    return _attended(n, parts, int(n.attribute("num_heads")), bias, causal)


def _attended(
    n: Call, parts: list[Tensor], heads: int, bias: Tensor | None, causal: bool
) -> Tensor:
    query, key, value = (split_heads(part, heads) for part in parts)
    if causal:
        later = causal_bias(query, key)
        bias = later if bias is None else bias + later
    scale = n.attribute("scale") or 1 / math.sqrt(channels_of(parts[0]) // heads)
    return join_heads(attend(query, key, value, scale, bias))


def unary(function: Callable[[Tensor], Tensor]) -> Formula:
    return lambda n: function(n[0])


_own = functools.partial(decomposition, domain=MICROSOFT)
_own("Gelu", unary(gelu_erf))
_own("QuickGelu", quick_gelu)
_own("FastGelu", fast_gelu)
_own("BiasGelu", lambda n: gelu_erf(n[0] + n[1]))
_own("FusedConv", fused_conv)
_own("FusedGemm", fused_gemm)
_own("FusedMatMul", fused_matmul)
_own("SkipLayerNormalization", skip_layer_normalization)
_own("Attention", attention)
_own("MultiHeadAttention", multi_head_attention)
