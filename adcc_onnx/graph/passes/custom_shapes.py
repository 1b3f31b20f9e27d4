"""Infer the shapes behind custom operators from the decompositions of their gradient rules."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET, Builder, Tensor
from adcc_onnx.graph.autodiff.call import DetachedNode, UnsupportedNodeError
from adcc_onnx.graph.autodiff.node_shapes import infer_outputs
from adcc_onnx.graph.autodiff.rules.rule_registry import find_rule


def infer_custom_shapes(model: ir.Model) -> None:
    """Infer, node by node, the shapes that ONNX's own inference left unknown; in place."""
    if all(_is_standard(node) for node in model.graph):
        return
    opset = model.graph.opset_imports.get("", LOWEST_OPSET)
    for node in model.graph:
        if all(value.shape is not None for value in node.outputs):
            continue
        if _is_standard(node):
            infer_outputs(node, opset)
        else:
            _infer_by_decomposition(node)


def _is_standard(node: ir.Node) -> bool:
    return node.domain in ("", "ai.onnx")


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
