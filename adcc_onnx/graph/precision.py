"""Models of a precision that a device cannot compute in."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.build import FLOAT

_BFLOAT16 = ir.DataType.BFLOAT16


def widen_bfloat16(model: ir.Model) -> None:
    """Let a bfloat16 model compute in float32, in place: CPUs have hardly any kernel for the first.

    The weights keep their values, to which float32 is wide enough; results differ from those of
    bfloat16 arithmetic by its rounding.
    """
    for graph in model.graphs():
        for value in [*graph.inputs, *graph.initializers.values()]:
            _widen_value(value)
        for node in graph:
            for value in node.outputs:
                _widen_value(value)
            for attribute in list(node.attributes.values()):
                _widen_attribute(node, attribute)


def _widen_value(value: ir.Value) -> None:
    if value.dtype == _BFLOAT16:
        value.dtype = FLOAT
    if value.const_value is not None and value.const_value.dtype == _BFLOAT16:
        value.const_value = _widened(value.const_value)


def _widen_attribute(node: ir.Node, attribute: ir.Attr) -> None:
    if attribute.name in ("to", "dtype") and attribute.type == ir.AttributeType.INT:
        if attribute.as_int() == _BFLOAT16:
            node.attributes[attribute.name] = ir.AttrInt64(attribute.name, int(FLOAT))
    elif attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        if tensor.dtype == _BFLOAT16:
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, _widened(tensor))


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)
