"""Write fused operators of transformers in simpler ones, which show what they hide as values."""

from __future__ import annotations

import itertools

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import find_rule
from adcc_onnx.graph.passes.infer_shapes import infer_shapes

_FUSED = {"Attention", "MultiHeadAttention"}
# It adds the residual connection, so the tokens of a block leave it in two values.
_SKIP = "SkipLayerNormalization"
_PREFIX = "adcc/attention/"


def is_fused_attention(node: ir.Node) -> bool:
    """Whether a node computes a whole attention."""
    return node.op_type in _FUSED


def is_fused(node: ir.Node) -> bool:
    """Whether a node hides attention probabilities or the tokens between two blocks."""
    return is_fused_attention(node) or node.op_type == _SKIP


def decompose_attentions(model: ir.Model) -> None:
    """Replace fused operators by the simpler ones that gradients of them use, too.

    The results keep their names. Operators with inputs that no formula supports stay.

    Args:
        model: The model, changed in place.
    """
    fused = [node for node in model.graph if is_fused(node)]
    builder = Builder(model.graph, _PREFIX)
    for node in fused:
        rule = find_rule(node.domain, node.op_type)
        if rule is None or rule.formula is None:
            continue
        try:
            results = rule.formula(Call(builder, node))
        except UnsupportedNodeError:
            continue
        _replace(node, [results] if isinstance(results, Tensor) else results)
    model.graph.sort()
    infer_shapes(model)


def _replace(node: ir.Node, results: list[Tensor | None]) -> None:
    """Let the results of a formula take the place of a node's outputs, unless one is missing."""
    pairs = list(itertools.zip_longest(node.outputs, results))
    if any(old is not None and new is None and old.uses() for old, new in pairs):
        return
    for old, result in pairs:
        if old is None or result is None or not old.name:
            continue
        new, name = result.cast(old.dtype or FLOAT).value, old.name
        new.shape = old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name = f"{_PREFIX}{name}"
        new.name = name
