"""Gradient rules of quantization: rounding counts as the identity, saturation as clipping.

Exporters omit a ReLU that the saturation of the following QuantizeLinear makes redundant; the
derivative of the clipping is then the derivative of that ReLU.
"""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp

_RANGES = {
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT4: (-8, 7),
}


def quantize(g: Tensor, n: Call) -> Tensor:
    """QuantizeLinear, y = clip(round(x / scale) + zero): dx = g / scale, 0 where clipped."""
    scale = _per_channel(n[1], n)
    level = n.x / scale
    if n.has(2):
        level = level + _per_channel(n[2].cast(FLOAT), n)
    return _in_range(level.op("Round"), n).where(g / scale, 0.0)


def dynamic_quantize(g: Tensor, n: Call) -> Tensor:
    """DynamicQuantizeLinear: dx = g / scale; the scale counts as constant and clips nothing."""
    return g / n.output(1)


def dequantize(g: Tensor, n: Call) -> Tensor:
    """DequantizeLinear, y = (x - zero) scale: dx = g scale."""
    return g * _per_channel(n[1], n)


def _per_channel(factor: Tensor, n: Call) -> Tensor:
    """A scale or zero point, reshaped to broadcast along the quantization axis."""
    if n.attribute("block_size", 0):
        raise UnsupportedNodeError("blockwise quantization is not supported")
    if factor.dims is None:
        raise UnsupportedNodeError("the shape of its scale is unknown")
    if len(factor.dims) == 0:
        return factor
    return factor.reshape([-1, *[1] * (n.rank() - 1 - n.axis(1))])


def _in_range(level: Tensor, n: Call) -> Tensor:
    """Whether the level is within the range of the quantized type."""
    dtype = n.node.outputs[0].dtype
    if dtype not in _RANGES:
        raise UnsupportedNodeError(f"quantization to {dtype} is not supported")
    low, high = _RANGES[dtype]
    return (level >= float(low)) & (level <= float(high))


vjp("QuantizeLinear", quantize, None, None)
vjp("DynamicQuantizeLinear", dynamic_quantize)
vjp("DequantizeLinear", dequantize, None, None)
