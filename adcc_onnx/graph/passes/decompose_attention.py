"""Write fused attentions in simpler operators, which show their probabilities as values."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import find_rule
from adcc_onnx.graph.passes.infer_shapes import infer_shapes

_FUSED = {"Attention", "MultiHeadAttention"}
_PREFIX = "adcc/attention/"


def is_fused_attention(node: ir.Node) -> bool:
    """Whether a node computes a whole attention."""
    return node.op_type in _FUSED


def decompose_attentions(model: ir.Model) -> None:
    """Replace fused attentions by the simpler operators that gradients of them use, too.

    The results keep their names. Attentions with inputs that no formula supports stay.

    Args:
        model: The model, changed in place.
    """
    fused = [node for node in model.graph if is_fused_attention(node)]
    builder = Builder(model.graph, _PREFIX)
    for node in fused:
        rule = find_rule(node.domain, node.op_type)
        if rule is None or rule.formula is None:
            continue
        try:
            result = rule.formula(Call(builder, node))
        except UnsupportedNodeError:
            continue
        if isinstance(result, Tensor):
            _replace(node, result)
    model.graph.sort()
    infer_shapes(model)


def _replace(node: ir.Node, result: Tensor) -> None:
    old, new = node.outputs[0], result.cast(node.outputs[0].dtype or FLOAT).value
    if any(value.uses() for value in node.outputs[1:]):
        return
    new.shape, name = old.shape, old.name
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name = f"{_PREFIX}{name}"
    new.name = name
