"""Replace nodes of a graph by others that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.passes.prune import prune

# Returns what replaces the first output of a node; None keeps the node.
Rewriting = Callable[[Call], Tensor | None]


def rewrite(model: ir.Model, prefix: str, rewritings: Mapping[str, Rewriting]) -> None:
    """Rewrite nodes of a graph, in place; its inputs and outputs stay the same.

    Nodes whose shapes are not known are kept.

    Args:
        model: A prepared model, or a graph that was built from one.
        prefix: The beginning of the names of new values.
        rewritings: The rewriting of each operator by its name.
    """
    builder = Builder(model.graph, prefix)
    rewritten = False
    for node in list(model.graph):
        rewriting = rewritings.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rewriting is None:
            continue
        try:
            replacement = rewriting(Call(builder, node))
        except UnsupportedNodeError:
            continue  # a shape is not known
        if replacement is not None:
            _replace(node, replacement)
            rewritten = True
    if rewritten:
        model.graph.sort()
    prune(model)


def own_input(n: Call, index: int) -> Tensor:
    """Return an input in its own type; those of a Call are widened to float32."""
    value = n.node.inputs[index]
    assert value is not None
    return n.builder.wrap(value)


def _replace(node: ir.Node, replacement: Tensor) -> None:
    """Let all readers of a node's output, and the graph's outputs, read another value."""
    old, new = node.outputs[0], replacement.value
    name, graph = old.name, node.graph
    if new.dtype is None and old.dtype is not None:
        new.dtype = old.dtype
    new.shape = new.shape or old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    assert graph is not None
    graph.remove(node, safe=True)
    new.name = name
