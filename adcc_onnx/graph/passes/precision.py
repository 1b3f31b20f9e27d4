"""Change the precision that a model computes in."""

from __future__ import annotations

import logging
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import ModelError, first_line
from adcc_onnx.graph.autodiff.builder import FLOAT
from adcc_onnx.graph.loading.reading import read_proto
from adcc_onnx.graph.loading.saving import to_proto, with_weights


def to_float32(model: ir.Model, *types: ir.DataType) -> None:
    """Convert a model in low precision to float32, in place, where kernels are missing or slow.

    onnxruntime has few bfloat16 kernels on CPUs, and on CUDA none of MaxPool, GlobalAveragePool,
    BatchNormalization, Clip and Resize. CPUs emulate float16.

    The weights keep their exact values. Results differ from those of arithmetic in low precision by
    its rounding errors.

    Args:
        model: The model as it was read.
        types: The types that become float32.
    """
    for graph in model.graphs():
        for value in [*graph.inputs, *graph.initializers.values()]:
            _convert_value(value, types)
        for node in graph:
            for value in node.outputs:
                _convert_value(value, types)
            for attribute in list(node.attributes.values()):
                _convert_attribute(node, attribute, types)


def to_float16(model: ir.Model) -> ir.Model:
    """Convert a prepared model to float16 with onnxruntime's converter.

    The inputs and outputs keep their types, and operators without a float16 kernel stay in
    float32.

    Args:
        model: The prepared model; its weights are loaded into memory.

    Returns:
        A new model.

    Raises:
        ModelError: The model cannot be converted, for example because it exceeds 2 GiB.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # Silences one warning for every weight that underflows in float16.
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    try:
        proto = to_proto(with_weights(model))
        # Shapes have been inferred already.
        half = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=True)
    except Exception as error:  # the converter raises all kinds of exceptions
        raise ModelError(
            f"the model cannot be converted to float16 ({first_line(error)}); use --precision fp32"
        ) from error
    return read_proto(half)


def _convert_value(value: ir.Value, types: Collection[ir.DataType]) -> None:
    if value.dtype in types:
        value.dtype = FLOAT
    if value.const_value is not None and value.const_value.dtype in types:
        value.const_value = _convert_tensor(value.const_value)


def _convert_attribute(node: ir.Node, attribute: ir.Attr, types: Collection[ir.DataType]) -> None:
    if attribute.name in ("to", "dtype") and attribute.type == ir.AttributeType.INT:
        if attribute.as_int() in types:
            node.attributes[attribute.name] = ir.AttrInt64(attribute.name, int(FLOAT))
    elif attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        if tensor.dtype in types:
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, _convert_tensor(tensor))


def _convert_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)
