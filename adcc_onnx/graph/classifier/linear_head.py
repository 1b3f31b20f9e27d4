"""Check that the scores are linear in the mean of a layer over space, as plain CAM needs."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.classifier.layouts import infer_layouts

# Operators that change the order of the axes or the data type, but no number.
_MOVES = {"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
# Operators that are affine in one input if the others are constant.
_AFFINE = {"Add", "BatchNormalization", "Conv", "Div", "Gemm", "MatMul", "Mul", "Sub", *_MOVES}


def require_linear_head(classifier: Classifier, layer: Layer) -> None:
    """Check that only global average pooling and linear operators follow a layer.

    Args:
        classifier: The classifier.
        layer: The layer.

    Raises:
        ModelError: Another operator follows, which the message names.
    """
    layouts = infer_layouts(classifier)
    in_space, pooled = {layer.value}, set[ir.Value]()
    for node in path_nodes([classifier.logits], [layer.value]):
        sources = [v for v in node.inputs if v is not None and v in in_space | pooled]
        output = node.outputs[0]
        source = sources[0]
        is_divisor = node.op_type == "Div" and node.inputs[0] is not source
        if len(sources) > 1 or is_divisor:
            raise _refused(layer, node)
        if source in pooled:
            allowed, followers = node.op_type in _AFFINE, pooled
        elif node.op_type in _MOVES:
            allowed, followers = output in layouts, in_space
        else:
            allowed, followers = _is_global_mean(node, layouts.get(source, "")), pooled
        if not allowed:
            raise _refused(layer, node)
        followers.add(output)
    if classifier.logits not in pooled:
        raise ModelError(f"the scores are not computed from the mean of layer '{layer.name}'")


def _is_global_mean(node: ir.Node, layout: str) -> bool:
    """Whether a node averages a value of a layout over all its positions."""
    dims = dims_of(node.inputs[0]) if node.inputs[0] is not None else None
    if node.op_type == "GlobalAveragePool":
        return layout in ("NCHW", "NCT")
    if dims is None or len(dims) != len(layout):
        return False
    if node.op_type == "AveragePool":
        kernel = node.attributes.get_ints("kernel_shape", [])
        pads = node.attributes.get_ints("pads", [])
        return layout == "NCHW" and list(kernel) == list(dims[2:]) and not any(pads)
    if node.op_type != "ReduceMean" or len(node.inputs) < 2 or node.inputs[1] is None:
        return False
    axes = ir.convenience.get_const_tensor(node.inputs[1])
    spatial = {index for index, axis in enumerate(layout) if axis in "HWT"}
    return axes is not None and {int(axis) % len(dims) for axis in axes.numpy()} == spatial


def _refused(layer: Layer, node: ir.Node) -> ModelError:
    name = node.name or node.outputs[0].name
    return ModelError(
        f"the method needs a linear layer directly behind the global average pooling of layer "
        f"'{layer.name}', but the operator {node.op_type} ('{name}') follows"
    )
