"""Control flow that is known before the model runs: branches chosen and loops unrolled on load."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import ModelError

# Loops that would make the model larger than this many operators stay loops.
_MOST_UNROLLED = 20_000
# Operators that loops may run, about ten seconds.
_MOST_ROUNDS = 10**7


def resolve_control_flow(model: ir.Model) -> bool:
    """Inline each If of constant condition, unroll each Loop and Scan of constant length; in place.

    The rest stays: it runs, but cannot be differentiated. Returns whether anything changed; new
    constants may then decide further conditions.
    """
    changed = False
    for node in list(model.graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        replace = {"If": _choose, "Loop": _unroll_loop, "Scan": _unroll_scan}.get(node.op_type)
        if replace is not None:
            changed |= replace(model.graph, node)
    return changed


def _choose(graph: ir.Graph, node: ir.Node) -> bool:
    condition = _constant(node.inputs[0])
    if condition is None:
        return False
    branch = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    inner = _Inliner(graph, node)
    inner.finish(inner.paste(node.attributes[branch].as_graph(), []))
    return True


def _unroll_loop(graph: ir.Graph, node: ir.Node) -> bool:
    """Body inputs: round, condition, carried...; outputs: condition, carried..., one a round..."""
    rounds, start = _constant(node.inputs[0]), node.inputs[1] if len(node.inputs) > 1 else None
    body = node.attributes["body"].as_graph()
    first = None if start is None else _constant(start)
    if rounds is None or (start is not None and first is None):
        return False
    count = int(rounds.reshape(-1)[0]) if first is None or bool(first.reshape(-1)[0]) else 0
    if not _goes_on(body) or count < 1 or not _has_room(graph, count, body):
        return False
    inner = _Inliner(graph, node)
    carried: list[ir.Value | None] = list(node.inputs[2:])
    collected: list[list[ir.Value]] = []
    for number in range(count):
        inputs = [inner.constant(np.array(number, np.int64)), inner.constant(np.array(True))]
        results = inner.paste(body, [*inputs, *carried])[1:]
        made = results[len(carried) :]
        carried = [*results[: len(carried)]]
        collected.append(made)
    inner.finish([*carried, *(inner.stacked(list(rows)) for rows in zip(*collected, strict=True))])
    return True


def _unroll_scan(graph: ir.Graph, node: ir.Node) -> bool:
    """Body inputs: states..., one slice of each scanned input...; outputs likewise."""
    body, scanned = node.attributes["body"].as_graph(), node.attributes["num_scan_inputs"].as_int()
    given = list(node.inputs)
    states, sequences = given[: len(given) - scanned], given[len(given) - scanned :]
    plain = not any(name.startswith("scan_") for name in node.attributes)
    length = None if sequences[0] is None or sequences[0].shape is None else sequences[0].shape[0]
    if not plain or not isinstance(length, int) or length < 1:
        return False
    if not _has_room(graph, length, body):
        return False
    inner = _Inliner(graph, node)
    collected = []
    for number in range(length):
        slices = [inner.taken(sequence, number) for sequence in sequences]
        results = inner.paste(body, [*states, *slices])
        made = results[len(states) :]
        states = [*results[: len(states)]]
        collected.append(made)
    inner.finish([*states, *(inner.stacked(list(rows)) for rows in zip(*collected, strict=True))])
    return True


def _has_room(graph: ir.Graph, count: int, body: ir.Graph) -> bool:
    return graph.num_nodes() + count * max(body.num_nodes(), 1) <= _MOST_UNROLLED


def check_loops(graph: ir.Graph) -> None:
    """Check that the loops left in a graph end, as far as their numbers of rounds are known.

    Raises:
        ModelError: one never ends, or runs more operators than any image classifier.
    """
    for node in graph:
        if _operators_run(node) > _MOST_ROUNDS:
            name = node.name or node.outputs[0].name
            raise ModelError(f"the loop '{name}' of the model never ends, or only after very long")


def _operators_run(node: ir.Node) -> float:
    """How many operators a node runs; infinitely many in an endless loop."""
    bodies = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    inner = sum(_operators_run(part) for body in bodies for part in body)
    return 1 + inner * (_rounds(node) if node.op_type == "Loop" else 1)


def _rounds(loop: ir.Node) -> float:
    """How often a Loop's body runs, 1 where that is not known."""
    most, start = (loop.inputs[i] if i < len(loop.inputs) else None for i in (0, 1))
    first, limit = _constant(start), _constant(most)
    if first is not None and not first.reshape(-1)[0]:
        return 0
    if (start is not None and first is None) or not _goes_on(loop.attributes["body"].as_graph()):
        return 1
    if most is None:
        return math.inf
    return 1 if limit is None else max(0, int(limit.reshape(-1)[0]))


def _goes_on(body: ir.Graph) -> bool:
    """Whether the body hands the condition through, or sets it to true."""
    condition = body.outputs[0]
    producer = condition.producer()
    while (
        producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None
    ):
        condition = producer.inputs[0]
        producer = condition.producer()
    if condition is body.inputs[1]:
        return True
    known = _constant(condition)
    return known is not None and bool(known.reshape(-1)[0])


def _constant(value: ir.Value | None) -> np.ndarray | None:
    constant = None if value is None else ir.convenience.get_const_tensor(value)
    return None if constant is None else np.asarray(constant.numpy())


class _Inliner:
    """Puts copies of a control flow node's bodies in its place, under names of their own."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._node = graph, node
        self._name = node.name or node.outputs[0].name or node.op_type
        self._copies = 0

    def paste(self, body: ir.Graph, inputs: Sequence[ir.Value | None]) -> list[ir.Value]:
        """Insert a copy of the body that reads `inputs`; returns its outputs."""
        copy = body.clone(allow_outer_scope_values=True)
        prefix = f"{self._name}/{self._copies}/"
        self._copies += 1
        outputs = list(copy.outputs)
        for formal, actual in zip(copy.inputs, inputs, strict=True):
            assert actual is not None
            formal.replace_all_uses_with(actual)
            outputs = [actual if output is formal else output for output in outputs]
        copy.outputs.clear()
        for name, value in list(copy.initializers.items()):
            del copy.initializers[name]
            value.name = prefix + name
            self._graph.register_initializer(value)
        nodes = list(copy)
        for node in nodes:
            copy.remove(node)
            node.name = prefix + (node.name or node.op_type)
            for value in node.outputs:
                value.name = prefix + (value.name or "value")
        self._graph.insert_before(self._node, nodes)
        return outputs

    def constant(self, value: np.ndarray) -> ir.Value:
        name = f"{self._name}/constant_{value.dtype}_{value}"
        if name in self._graph.initializers:
            return self._graph.initializers[name]
        constant = ir.val(name, const_value=ir.tensor(value))
        self._graph.register_initializer(constant)
        return constant

    def taken(self, sequence: ir.Value | None, number: int) -> ir.Value:
        """The element of a scanned input that one round reads."""
        return self._op("Gather", [sequence, self.constant(np.array(number, np.int64))], axis=0)

    def stacked(self, rows: list[ir.Value]) -> ir.Value:
        """The values of all rounds along a new first axis."""
        axis = self.constant(np.array([0], np.int64))
        lifted = [self._op("Unsqueeze", [row, axis]) for row in rows]
        return self._op("Concat", lifted, axis=0)

    def finish(self, results: Sequence[ir.Value | None]) -> None:
        """Let the results take the place, and the names, of the node's outputs."""
        for old, new in zip(self._node.outputs, results, strict=True):
            assert new is not None
            # An outer value keeps its name: an Identity carries the output's.
            named = self._op("Identity", [new])
            old.replace_all_uses_with(named, replace_graph_outputs=True)
            named.name, old.name = old.name, None
        self._graph.remove(self._node, safe=True)

    def _op(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: int) -> ir.Value:
        node = ir.node(op_type, inputs, attributes=attributes)
        node.name = f"{self._name}/{op_type}_{self._copies}"
        self._copies += 1
        node.outputs[0].name = node.name
        self._graph.insert_before(self._node, node)
        return node.outputs[0]
