"""Run a part of a graph a second time, on another value."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from adcc_onnx.graph.programs.tensor_names import NAME_PREFIX


def copy_nodes(
    graph: ir.Graph, nodes: Sequence[ir.Node], old: ir.Value, new: ir.Value, prefix: str
) -> dict[ir.Value, ir.Value]:
    """Append copies of nodes that read another value.

    Args:
        graph: The graph of the nodes.
        nodes: The nodes.
        old: The value that they read.
        new: The value that the copies read instead.
        prefix: The prefix of the copies' names behind `NAME_PREFIX`.

    Returns:
        The copies by the value that was copied, and `new` for `old`.
    """
    copies = {old: new}
    wanted, prefix = set(nodes), f"{NAME_PREFIX}{prefix}"
    for node in [node for node in graph if node in wanted]:
        inputs = [value if value is None else copies.get(value, value) for value in node.inputs]
        copy = ir.node(
            node.op_type,
            inputs,
            attributes=dict(node.attributes),
            domain=node.domain,
            num_outputs=len(node.outputs),
            name=f"{prefix}{node.name}",
        )
        for value, copied in zip(node.outputs, copy.outputs, strict=True):
            copied.name, copied.shape, copied.type = (
                f"{prefix}{value.name}",
                value.shape,
                value.type,
            )
            copies[value] = copied
        graph.append(copy)
    return copies
