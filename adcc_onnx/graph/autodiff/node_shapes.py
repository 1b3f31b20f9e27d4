"""Type and shape inference for a single node, by ONNX's own inference functions."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import helper, shape_inference

# Constants that determine shapes (axes, sizes, pads) have fewer elements than this.
_MAX_CONSTANT_SIZE = 1024


def infer_outputs(node: ir.Node, opset: int) -> None:
    """Set the types and shapes of a standard node's outputs as far as its inputs determine them.

    Args:
        node: Node of the default domain; its outputs are changed in place.
        opset: Opset version of the graph.
    """
    schema = onnx.defs.get_schema(node.op_type, opset)
    types, constants = {}, {}
    for value in node.inputs:
        if value is None or value.name is None:
            continue
        types[value.name] = _type_of(value)
        constant = value.const_value
        if constant is not None and constant.size <= _MAX_CONSTANT_SIZE:
            constants[value.name] = ir.to_proto(constant)
    imports = [helper.make_opsetid("", opset)]
    try:
        inferred = shape_inference.infer_node_outputs(
            schema, ir.to_proto(node), types, constants, opset_imports=imports
        )
    except (shape_inference.InferenceError, onnx.checker.ValidationError):
        inferred = {}  # The type of an input is unknown.
    for value in node.outputs:
        if value.name in inferred:
            _set_type(value, inferred[value.name])


def _type_of(value: ir.Value) -> onnx.TypeProto:
    dims = (
        None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
    )
    return helper.make_tensor_type_proto(int(value.dtype or ir.DataType.FLOAT), dims)


def _set_type(value: ir.Value, inferred: onnx.TypeProto) -> None:
    tensor = inferred.tensor_type
    value.type = ir.TensorType(ir.DataType(tensor.elem_type))
    if tensor.HasField("shape"):
        value.shape = ir.Shape(
            [
                d.dim_value if d.HasField("dim_value") else d.dim_param or None
                for d in tensor.shape.dim
            ]
        )
