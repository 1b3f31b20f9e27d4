"""Quantization: rounding counts as the identity, saturation as the clipping it is.

Exporters drop a ReLU whose work the saturation of the next QuantizeLinear does: the derivative of
that ReLU is the derivative of the clipping here.
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
    """y = clip(round(x / scale) + zero): dx = g / scale where nothing is clipped"""
    scale = _along_axis(n[1], n)
    level = n.x / scale
    if n.has(2):
        level = level + _along_axis(n[2].cast(FLOAT), n)
    return _inside(level.op("Round"), n).where(g / scale, 0.0)


def dynamic_quantize(g: Tensor, n: Call) -> Tensor:
    """The scale is chosen so that nothing is clipped, and counts as constant"""
    return g / n.output(1)


def dequantize(g: Tensor, n: Call) -> Tensor:
    """y = (x - zero) scale"""
    return g * _along_axis(n[1], n)


def _along_axis(factor: Tensor, n: Call) -> Tensor:
    """A scale or zero point a channel, shaped to multiply along its axis."""
    if n.attribute("block_size", 0):
        raise UnsupportedNodeError("it quantizes in blocks")
    if factor.dims is None:
        raise UnsupportedNodeError("the shape of its scale is unknown")
    if len(factor.dims) == 0:
        return factor
    return factor.reshape([-1, *[1] * (n.rank() - 1 - n.axis(1))])


def _inside(level: Tensor, n: Call) -> Tensor:
    """Where the level lies in the range of the quantized type."""
    kind = n.node.outputs[0].dtype
    if kind not in _RANGES:
        raise UnsupportedNodeError(f"it quantizes to {kind}")
    low, high = _RANGES[kind]
    return (level >= float(low)) & (level <= float(high))


vjp("QuantizeLinear", quantize, None, None)
vjp("DynamicQuantizeLinear", dynamic_quantize)
vjp("DequantizeLinear", dequantize, None, None)
