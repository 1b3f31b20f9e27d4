"""Reverse-mode differentiation of an ONNX graph: the gradient becomes more graph.

The walk visits the nodes between the asked values and the score, last first. Each node's rule turns
the gradient of its output into that of its inputs (the chain rule); gradients that reach a value
through several consumers are added. Only nodes on a path from an asked value to the score are
touched, so the backward part costs no more than it must.

Source: Griewank and Walther, *Evaluating Derivatives*, 2nd ed. (SIAM 2008), chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx_ir as ir

from adcc_onnx.errors import ControlFlowError, NoGradientPathError, NoGradientRuleError
from adcc_onnx.graph.autodiff.broadcast import unbroadcast
from adcc_onnx.graph.autodiff.builder import FLOAT, QUANTIZED, Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call, DetachedNode, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules import NO_GRADIENT, STRAIGHT_THROUGH, find_rule
from adcc_onnx.graph.autodiff.rules.rule_registry import Formula, Rule

# What keeps such an operator from being resolved here, for whoever has to refuse it.
CONTROL_FLOW = {
    "If": "its condition is not constant",
    "Loop": "its number of rounds is not constant, or too large to unroll",
    "Scan": "its number of rounds is not constant, or too large to unroll",
}

_DIFFERENTIABLE = {
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
}


def gradients(
    builder: Builder, score: ir.Value, seed: Tensor, wrt: Sequence[ir.Value]
) -> list[Tensor]:
    """Append the gradient of ``sum(seed * score)`` with respect to each value of `wrt`.

    Args:
        builder: appends to the graph that holds all the values.
        score: the differentiated value, any shape.
        seed: its cotangent, same shape.
        wrt: values of the graph, any rank.

    Returns:
        One Tensor a value, of that value's shape; float32 where the model is of lower precision.

    Raises:
        NoGradientRuleError: an operator on a path has no rule, or its rule refuses it.
        NoGradientPathError: the score does not depend on one of the values.
    """
    totals = []
    for value, total in zip(wrt, _walk(builder, {score: seed}, wrt), strict=True):
        if total is None:
            raise NoGradientPathError(
                f"the scores do not depend on '{value.name}' through operators that have a "
                "gradient; choose another layer (`adcc-onnx inspect` lists them)"
            )
        totals.append(total)
    return totals


def _walk(
    builder: Builder, seeds: dict[ir.Value, Tensor], wrt: Sequence[ir.Value]
) -> list[Tensor | None]:
    """The gradient of each of `wrt`, None where nothing arrives."""
    # Counted before anything is appended: the backward nodes must not be walked themselves.
    path = path_nodes(seeds, wrt)
    downstream = {value for node in path for value in _carriers(node)} | set(wrt)
    cotangents = {value: [seed] for value, seed in seeds.items()}
    for node in reversed(path):
        arrived = [_total(builder, cotangents, value) for value in node.outputs]
        if any(g is not None for g in arrived):
            with builder.scope(node.name):
                _visit(Call(builder, node, arrived), downstream, cotangents)
    return [_total(builder, cotangents, value) for value in wrt]


def path_nodes(scores: Iterable[ir.Value], wrt: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes on differentiable paths from any of `wrt` to any score, in topological order."""
    reached = set(wrt)
    path = []
    for node in _ancestors(scores):
        if carries_gradient(node) and any(value in reached for value in all_inputs(node)):
            reached.update(_carriers(node))
            path.append(node)
    return path


def carries_gradient(node: ir.Node) -> bool:
    """False for operators whose output does not vary with the values of their inputs."""
    return node.domain not in ("", "ai.onnx") or node.op_type not in NO_GRADIENT


def missing_rules(score: ir.Value, wrt: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes between `wrt` and the score that have no gradient rule."""
    return [n for n in path_nodes([score], wrt) if find_rule(n.domain, n.op_type) is None]


def _carriers(node: ir.Node) -> list[ir.Value]:
    """The outputs that carry a gradient: real numbers, and what a quantizer has made of them."""
    if node.op_type in STRAIGHT_THROUGH:
        return [node.outputs[0]]
    moved = QUANTIZED if node.op_type != "Cast" else set()
    kinds = _DIFFERENTIABLE | moved | {None}
    return [value for value in node.outputs if value.dtype in kinds]


def all_inputs(node: ir.Node) -> Iterator[ir.Value]:
    """The inputs of a node, and what the bodies of a control flow node read from around it."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            body = attribute.as_graph()
            for inner in body:
                yield from (value for value in all_inputs(inner) if value.graph is not body)
            yield from (value for value in body.outputs if value.graph is not body)


def _ancestors(scores: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes that the scores are computed from, in the graph's (topological) order."""
    seen: set[ir.Node] = set()
    pending = [score.producer() for score in scores]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        pending.extend(value.producer() for value in all_inputs(node))
    first = next(iter(seen), None)
    return [] if first is None or first.graph is None else [n for n in first.graph if n in seen]


def _total(
    builder: Builder, cotangents: dict[ir.Value, list[Tensor]], value: ir.Value
) -> Tensor | None:
    """The sum of what has arrived at a value, kept so that it is added only once."""
    parts = cotangents.get(value)
    if parts is None:
        return None
    if len(parts) > 1:
        cotangents[value] = [builder.op("Sum", *parts)]
    return cotangents[value][0]


def _visit(call: Call, downstream: set[ir.Value], cotangents: dict[ir.Value, list[Tensor]]) -> None:
    """Send the gradient through one node to those of its inputs that lead to an asked value."""
    rule = _rule_for(call)
    asked = [i for i, v in enumerate(call.node.inputs) if v is not None and v in downstream]
    if rule.formula is not None:
        products = _through_decomposition(rule.formula, call, asked)
    else:
        products = [_product(rule, call, index) for index in asked]
    for index, product in zip(asked, products, strict=True):
        value = call.node.inputs[index]
        if product is not None and value is not None:
            cotangents.setdefault(value, []).append(product)


def _through_decomposition(
    formula: Formula, call: Call, asked: Sequence[int]
) -> list[Tensor | None]:
    """Write the node once more in simpler operators, on leaves of its own, and walk back there."""
    leaves = {index: call[index].cast(FLOAT).op("Identity") for index in asked}
    try:
        results = formula(DetachedNode(call.builder, call.node, leaves))
    except UnsupportedNodeError as reason:
        raise _refused(call, str(reason)) from None
    outputs = results if isinstance(results, list) else [results]
    seeds = {}
    for number, gradient in enumerate(call.gradients):
        result = outputs[number] if number < len(outputs) else None
        if gradient is not None and result is None:
            raise _refused(call, f"the scores depend on its output number {number + 1}")
        if gradient is not None and result is not None:
            seeds[result.value] = gradient
    return _walk(call.builder, seeds, [leaf.value for leaf in leaves.values()])


def _rule_for(call: Call) -> Rule:
    rule = find_rule(call.node.domain, call.node.op_type)
    if call.node.op_type in CONTROL_FLOW and not call.node.domain:
        raise _refused(call, CONTROL_FLOW[call.node.op_type], ControlFlowError)
    if rule is None:
        raise _refused(
            call,
            "it has no gradient rule; methods that need no gradient (scorecam, fakecam) still run",
        )
    limit = len(call.node.outputs) if rule.outputs is None else rule.outputs
    if any(g is not None for g in call.gradients[limit:]):
        raise _refused(call, f"the scores depend on its output number {limit + 1}")
    return rule


def _product(rule: Rule, call: Call, index: int) -> Tensor:
    product = rule.product(index)
    if product is None:
        raise _refused(call, f"it has no gradient with respect to its input number {index + 1}")
    leading = next(g for g in call.gradients if g is not None)
    try:
        gradient = product(leading, call)
        return unbroadcast(gradient, call, index) if rule.broadcasts else gradient
    except UnsupportedNodeError as reason:
        raise _refused(call, str(reason)) from None


def _refused(
    call: Call, reason: str, kind: type[NoGradientRuleError] = NoGradientRuleError
) -> NoGradientRuleError:
    text = f"operator {_describe(call.node)} cannot be differentiated: {reason}"
    return kind(text, call.node.outputs[0].name or "")


def _describe(node: ir.Node) -> str:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"{operator} (node '{node.name or node.outputs[0].name}')"
