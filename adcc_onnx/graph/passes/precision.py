"""Models of another precision: what a device cannot compute in, or computes faster in."""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import ModelError, first_line
from adcc_onnx.graph.autodiff.builder import FLOAT
from adcc_onnx.graph.loading.reading import read_proto
from adcc_onnx.graph.loading.saving import to_proto, with_weights

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


def to_float16(model: ir.Model) -> ir.Model:
    """The same prepared model computing in float16, its inputs and outputs as they were.

    Operators that have no float16 form stay in float32. The conversion is onnxruntime's own.

    Raises:
        ModelError: it cannot be converted, as a model of more than 2 GiB.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # It warns of every weight too small for float16: what that does to maps is measured instead.
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    try:
        proto = to_proto(with_weights(model))
        # Shapes are known already.
        half = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=True)
    except Exception as error:  # whatever the converter makes of a model
        raise ModelError(
            f"the model cannot be brought to float16 ({first_line(error)}); use --precision fp32"
        ) from error
    return read_proto(half)


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
