"""Look up tensors by the names that users give: tensor names, node names and module paths."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import onnx_ir as ir

from adcc_onnx.errors import LayerShapeError, UnknownLayerError, did_you_mean
from adcc_onnx.graph.autodiff.builder import QUANTIZED
from adcc_onnx.graph.classifier.image_classifier import values_by_name
from adcc_onnx.graph.classifier.image_input import find_image_input

INPUT_LAYER = "input"  # the layer name of the image itself
_SCOPES = "pkg.torch.onnx.name_scopes"  # the metadata in which torch records module paths


def find_value(model: ir.Model, name: str) -> ir.Value:
    """Find the tensor that a layer name refers to.

    Args:
        model: The prepared model.
        name: The name of a tensor or a node, a module path, or "input" for the image.

    Raises:
        UnknownLayerError: The model has no layer of this name; the message lists close names.
        LayerShapeError: The tensor is quantized, and its floating-point form is ambiguous.
    """
    values = named_values(model)
    if name == INPUT_LAYER and name not in values:
        return find_image_input(model, other_inputs=True)
    if name not in values:
        hint = did_you_mean(name, values) or "; `adcc-onnx inspect` lists the layers"
        raise UnknownLayerError(f"the model has no layer '{name}'{hint}")
    return _dequantized(values[name], name)


def named_values(model: ir.Model) -> dict[str, ir.Value]:
    """Map every name that a layer can be given by to its tensor.

    A tensor name takes precedence over an equal node name, and a node name over a module path.
    """
    tensors = {name: value for name, value in values_by_name(model).items() if name}
    nodes = {node.name: node.outputs[0] for node in model.graph if node.name}
    # The output of a module is that of its last node: later nodes overwrite earlier ones.
    modules = {path: node.outputs[0] for node in model.graph for path in module_paths(node)}
    return {**modules, **nodes, **tensors}


def module_paths(node: ir.Node) -> Iterator[str]:
    """Yield the module paths that the exporter recorded for a node, outermost first.

    The paths are of the form `layer4`, `layer4.1`; nodes of other exporters have none.
    """
    recorded = node.metadata_props.get(_SCOPES)
    if recorded is not None:
        try:
            scopes = ast.literal_eval(recorded)
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # on malformed metadata
            return
        if isinstance(scopes, list):
            yield from (scope for scope in scopes[:-1] if isinstance(scope, str) and scope)
    elif node.name and node.name.startswith("/"):
        yield from _paths_in_name(node.name.split("/")[1:-1])


def _paths_in_name(segments: list[str]) -> Iterator[str]:
    """Yield the paths in a node name of torch's older exporter.

    `/layer4/layer4.1/conv2/Conv` holds `layer4`, `layer4.1` and `layer4.1.conv2`.
    """
    path, last = "", ""
    for segment in segments:
        if last and segment.startswith(f"{last}."):
            path = path[: len(path) - len(last)] + segment
        else:
            path = f"{path}.{segment}" if path else segment
        last = segment
        yield path


def _dequantized(value: ir.Value, name: str) -> ir.Value:
    """Return the floating-point form of a quantized tensor, and any other tensor itself."""
    if value.dtype not in QUANTIZED:
        return value
    floats = [n.outputs[0] for n in value.consumers() if n.op_type == "DequantizeLinear"]
    if len(floats) != 1:
        raise LayerShapeError(
            f"layer '{name}' is quantized; name the floating-point tensor before or after it"
        )
    return floats[0]
