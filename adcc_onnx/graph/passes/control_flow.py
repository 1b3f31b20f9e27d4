"""Resolve control flow that does not depend on the image: choose branches and unroll loops."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.passes.inliner import Inliner

# Loops are not unrolled if the model would have more operators than this.
_MAX_UNROLLED_NODES = 20_000
# A limit on the operators that all iterations of a loop run: about ten seconds.
_MAX_LOOP_OPERATORS = 10**7


def resolve_control_flow(model: ir.Model) -> bool:
    """Inline every If with a constant condition, and unroll every Loop and Scan of constant length.

    All other control flow remains in the model: it runs, but cannot be differentiated.

    Args:
        model: The model, changed in place.

    Returns:
        Whether anything changed; new constants may then decide further conditions.
    """
    changed = False
    for node in list(model.graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        resolve = {"If": _inline_branch, "Loop": _unroll_loop, "Scan": _unroll_scan}.get(
            node.op_type
        )
        if resolve is not None:
            changed |= resolve(model.graph, node)
    return changed


def check_loops(graph: ir.Graph) -> None:
    """Check that the remaining loops terminate, as far as their trip counts are known.

    Raises:
        ModelError: A loop never ends, or runs far more operators than an image classifier does.
    """
    for node in graph:
        if _executed_operators(node) > _MAX_LOOP_OPERATORS:
            name = node.name or node.outputs[0].name
            raise ModelError(f"the loop '{name}' of the model never ends, or takes far too long")


def _inline_branch(graph: ir.Graph, node: ir.Node) -> bool:
    condition = _constant(node.inputs[0])
    if condition is None:
        return False
    branch = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    inliner = Inliner(graph, node)
    inliner.replace_node(inliner.insert_copy(node.attributes[branch].as_graph(), []))
    return True


def _unroll_loop(graph: ir.Graph, node: ir.Node) -> bool:
    """Unroll a Loop.

    The inputs of its body are the iteration number, the condition and the loop-carried values; the
    outputs are the condition, the loop-carried values and the scan outputs.
    """
    trips, start = _constant(node.inputs[0]), node.inputs[1] if len(node.inputs) > 1 else None
    body = node.attributes["body"].as_graph()
    first = None if start is None else _constant(start)
    if trips is None or (start is not None and first is None):
        return False
    count = int(trips.reshape(-1)[0]) if first is None or bool(first.reshape(-1)[0]) else 0
    if not _condition_stays_true(body) or count < 1 or not _fits(graph, count, body):
        return False
    inliner = Inliner(graph, node)
    carried: list[ir.Value | None] = list(node.inputs[2:])
    scan_outputs: list[list[ir.Value]] = []
    for number in range(count):
        inputs = [inliner.constant(np.array(number, np.int64)), inliner.constant(np.array(True))]
        results = inliner.insert_copy(body, [*inputs, *carried])[1:]
        scan_outputs.append(results[len(carried) :])
        carried = [*results[: len(carried)]]
    inliner.replace_node([*carried, *_stacked(inliner, scan_outputs)])
    return True


def _unroll_scan(graph: ir.Graph, node: ir.Node) -> bool:
    """Unroll a Scan.

    The inputs of its body are the states and one slice of every scan input; the outputs are the
    states and one slice of every scan output.
    """
    body, scanned = node.attributes["body"].as_graph(), node.attributes["num_scan_inputs"].as_int()
    inputs = list(node.inputs)
    states, sequences = inputs[: len(inputs) - scanned], inputs[len(inputs) - scanned :]
    has_default_axes = not any(name.startswith("scan_") for name in node.attributes)
    length = None if sequences[0] is None or sequences[0].shape is None else sequences[0].shape[0]
    if not has_default_axes or not isinstance(length, int) or length < 1:
        return False
    if not _fits(graph, length, body):
        return False
    inliner = Inliner(graph, node)
    scan_outputs = []
    for number in range(length):
        slices = [inliner.slice_at(sequence, number) for sequence in sequences]
        results = inliner.insert_copy(body, [*states, *slices])
        scan_outputs.append(results[len(states) :])
        states = [*results[: len(states)]]
    inliner.replace_node([*states, *_stacked(inliner, scan_outputs)])
    return True


def _stacked(inliner: Inliner, scan_outputs: list[list[ir.Value]]) -> list[ir.Value]:
    """Stack each scan output over all iterations."""
    return [inliner.stack(list(slices)) for slices in zip(*scan_outputs, strict=True)]


def _fits(graph: ir.Graph, count: int, body: ir.Graph) -> bool:
    return graph.num_nodes() + count * max(body.num_nodes(), 1) <= _MAX_UNROLLED_NODES


def _executed_operators(node: ir.Node) -> float:
    """Count the operators that a node executes; infinity for an endless loop."""
    bodies = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    inner = sum(_executed_operators(part) for body in bodies for part in body)
    return 1 + inner * (_trip_count(node) if node.op_type == "Loop" else 1)


def _trip_count(loop: ir.Node) -> float:
    """Return how often the body of a Loop runs; 1 if that is unknown, infinity if it never ends."""
    limit, start = (loop.inputs[i] if i < len(loop.inputs) else None for i in (0, 1))
    first, trips = _constant(start), _constant(limit)
    if first is not None and not first.reshape(-1)[0]:
        return 0
    unknown_start = start is not None and first is None
    if unknown_start or not _condition_stays_true(loop.attributes["body"].as_graph()):
        return 1
    if limit is None:
        return math.inf
    return 1 if trips is None else max(0, int(trips.reshape(-1)[0]))


def _condition_stays_true(body: ir.Graph) -> bool:
    """Whether a loop body returns its input condition, or the constant true."""
    condition = body.outputs[0]
    producer = condition.producer()
    while (
        producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None
    ):
        condition = producer.inputs[0]
        producer = condition.producer()
    if condition is body.inputs[1]:
        return True
    constant = _constant(condition)
    return constant is not None and bool(constant.reshape(-1)[0])


def _constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    constant = None if value is None else ir.convenience.get_const_tensor(value)
    return None if constant is None else np.asarray(constant.numpy())
