"""Infer the shapes behind custom operators from the decompositions of their gradient rules."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET, Builder, Tensor, dims_of
from adcc_onnx.graph.autodiff.call import DetachedNode, UnsupportedNodeError
from adcc_onnx.graph.autodiff.node_shapes import infer_outputs
from adcc_onnx.graph.autodiff.rules.rule_registry import find_rule

DOMAIN = "ai.onnx.ml"
CLASSIFIERS = {"SVMClassifier", "TreeEnsembleClassifier"}
_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


def infer_custom_shapes(model: ir.Model) -> None:
    """Infer, node by node, the shapes that ONNX's own inference left unknown; in place."""
    if all(_is_standard(node) for node in model.graph):
        return
    opset = model.graph.opset_imports.get("", LOWEST_OPSET)
    for node in model.graph:
        if all(value.shape is not None for value in node.outputs):
            continue
        if node.domain == DOMAIN:
            _infer_classifier(node)
        elif _is_standard(node):
            infer_outputs(node, opset)
        else:
            _infer_by_decomposition(node)


def _is_standard(node: ir.Node) -> bool:
    return node.domain in ("", "ai.onnx")


def _infer_classifier(node: ir.Node) -> None:
    """The labels and scores of trees and support vector machines have one row per row of data."""
    labels = next((node.attributes[name] for name in _LABELS if name in node.attributes), None)
    if node.op_type not in CLASSIFIERS or labels is None or len(node.outputs) < 2:
        return
    if node.op_type == "SVMClassifier" and "prob_a" not in node.attributes:
        return  # it votes between pairs of classes
    rows = (dims_of(node.inputs[0]) if node.inputs[0] is not None else None) or (None,)
    scores = node.outputs[1]
    scores.shape = ir.Shape([rows[0], len(labels.value)])
    scores.type = ir.TensorType(ir.DataType.FLOAT)


def _infer_by_decomposition(node: ir.Node) -> None:
    """Build the decomposition in a temporary graph, and copy the shapes of its results."""
    rule = find_rule(node.domain, node.op_type)
    if rule is None or rule.formula is None or node.graph is None:
        return
    imports = node.graph.opset_imports
    builder = Builder(ir.Graph([], [], nodes=[], opset_imports=dict(imports)), "shape/")
    leaves = {i: _detached_copy(builder, v, i) for i, v in enumerate(node.inputs) if v is not None}
    try:
        results = rule.formula(DetachedNode(builder, node, leaves))
    except UnsupportedNodeError:
        return
    for value, result in zip(
        node.outputs, results if isinstance(results, list) else [results], strict=False
    ):
        if result is not None:
            value.type, value.shape = ir.TensorType(result.dtype), result.value.shape


def _detached_copy(builder: Builder, value: ir.Value, index: int) -> Tensor:
    """Copy the type, the shape and the constant of a value to a value outside any graph."""
    leaf = ir.val(f"leaf_{index}", dtype=value.dtype, shape=value.shape)
    leaf.const_value = value.const_value
    return builder.wrap(leaf)
