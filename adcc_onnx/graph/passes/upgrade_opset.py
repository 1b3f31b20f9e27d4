"""Older opsets to one that all rules are written for."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET

# IR version that came with it.
_IR_VERSION = 8
_SMALL = 1024  # elements; larger weights do not travel through the converter


def upgrade_opset(model: ir.Model) -> ir.Model:
    """The model with standard operators of opset 18 or later; itself where it has them already.

    The weights do not pass through the converter, so models of any size can be raised; node names
    and metadata, which it drops, are put back.

    Raises:
        ModelError: the converter does not know how to raise one of the operators.
    """
    version = model.opset_imports.get("", model.opset_imports.get("ai.onnx", LOWEST_OPSET))
    if version >= LOWEST_OPSET:
        return model
    # Before IR version 4 an initializer had to be an input too, which they are no longer.
    model.ir_version = max(model.ir_version, _IR_VERSION)
    weights = _take_weights(model)
    labels = {
        output.name: (node.name, dict(node.metadata_props))
        for node in model.graph
        for output in node.outputs
    }
    try:
        proto: onnx.ModelProto = ir.to_proto(model)
        raised = ir.from_proto(version_converter.convert_version(proto, LOWEST_OPSET))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"operators of opset {version} cannot be raised to {LOWEST_OPSET}: {reason}"
        ) from error
    _put_weights(raised, weights)
    for node in raised.graph:
        for output in node.outputs:
            name, metadata = labels.get(output.name, (None, {}))
            node.name = node.name or name
            node.metadata_props.update(metadata)
    return raised


def _take_weights(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Make every large initializer a plain input of the same type and shape."""
    weights: dict[str, ir.TensorProtocol] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.size <= _SMALL:
            continue
        weights[name] = tensor
        value.shape, value.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype
        del model.graph.initializers[name]
        value.const_value = None
        model.graph.inputs.append(value)
    return weights


def _put_weights(model: ir.Model, weights: dict[str, ir.TensorProtocol]) -> None:
    for value in list(model.graph.inputs):
        if value.name in weights:
            model.graph.inputs.remove(value)
            value.const_value = weights[value.name]
            model.graph.register_initializer(value)
