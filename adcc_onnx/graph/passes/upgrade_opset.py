"""Upgrade models of older opsets."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET

# The IR version that was released with opset 18.
_IR_VERSION = 8
# In elements; larger weights are kept out of the converter.
_MAX_CONVERTED_WEIGHT = 1024


def upgrade_opset(model: ir.Model) -> ir.Model:
    """Upgrade the standard operators of a model to opset 18; newer models are returned unchanged.

    Large weights bypass ONNX's version converter, so that models of any size can be upgraded. The
    converter also drops the names and the metadata of nodes; they are restored.

    Args:
        model: The model; it is changed in place.

    Returns:
        The upgraded model, which may be another object.

    Raises:
        ModelError: The converter cannot upgrade one of the operators.
    """
    version = model.opset_imports.get("", model.opset_imports.get("ai.onnx", LOWEST_OPSET))
    if version >= LOWEST_OPSET:
        return model
    # Before IR version 4, every initializer had to be an input too; it no longer is.
    model.ir_version = max(model.ir_version, _IR_VERSION)
    weights = _take_weights(model)
    node_info = {
        output.name: (node.name, dict(node.metadata_props))
        for node in model.graph
        for output in node.outputs
    }
    try:
        proto: onnx.ModelProto = ir.to_proto(model)
        upgraded = ir.from_proto(version_converter.convert_version(proto, LOWEST_OPSET))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"operators of opset {version} cannot be upgraded to opset {LOWEST_OPSET}: {reason}"
        ) from error
    _put_weights(upgraded, weights)
    for node in upgraded.graph:
        for output in node.outputs:
            name, metadata = node_info.get(output.name, (None, {}))
            node.name = node.name or name
            node.metadata_props.update(metadata)
    return upgraded


def _take_weights(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Turn every large initializer into a plain input of the same type and shape."""
    weights: dict[str, ir.TensorProtocol] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.size <= _MAX_CONVERTED_WEIGHT:
            continue
        weights[name] = tensor
        value.shape, value.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype
        del model.graph.initializers[name]
        value.const_value = None
        model.graph.inputs.append(value)
    return weights


def _put_weights(model: ir.Model, weights: dict[str, ir.TensorProtocol]) -> None:
    """Turn these inputs back into initializers."""
    for value in list(model.graph.inputs):
        if value.name in weights:
            model.graph.inputs.remove(value)
            value.const_value = weights[value.name]
            model.graph.register_initializer(value)
