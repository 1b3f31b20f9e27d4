"""Reverse-mode differentiation of an ONNX graph: the gradient becomes more graph.

The walk visits the nodes between the asked values and the score, last first. Each node's rule turns
the gradient of its output into that of its inputs (the chain rule); gradients that reach a value
through several consumers are added. Only nodes on a path from an asked value to the score are
touched, so the backward part costs no more than it must.

Source: Griewank and Walther, *Evaluating Derivatives*, 2nd ed. (SIAM 2008), chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from adcc_onnx.errors import NoGradientPathError, NoGradientRuleError
from adcc_onnx.graph.broadcast import unbroadcast
from adcc_onnx.graph.build import Builder, Tensor
from adcc_onnx.graph.call import Call, RefusalError
from adcc_onnx.graph.rules import NO_GRADIENT, find_rule
from adcc_onnx.graph.rules.registry import Rule

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
    # Counted before anything is appended: the backward nodes must not be walked themselves.
    path = path_nodes(score, wrt)
    downstream = {value for node in path for value in node.outputs} | set(wrt)
    cotangents: dict[ir.Value, list[Tensor]] = {score: [seed]}
    for node in reversed(path):
        arrived = [_total(builder, cotangents, value) for value in node.outputs]
        if any(g is not None for g in arrived):
            with builder.scope(node.name):
                _visit(Call(builder, node, arrived), downstream, cotangents)
    totals = []
    for value in wrt:
        total = _total(builder, cotangents, value)
        if total is None:
            raise NoGradientPathError(
                f"the scores do not depend on '{value.name}' through operators that have a "
                "gradient; choose another layer (`adcc-onnx inspect` lists them)"
            )
        totals.append(total)
    return totals


def path_nodes(score: ir.Value, wrt: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes on differentiable paths from any of `wrt` to the score, in topological order."""
    upstream = _ancestors(score)
    reached = set(wrt)
    path = []
    for node in upstream:
        if not carries_gradient(node):
            continue
        if any(value in reached for value in node.inputs):
            outputs = [v for v in node.outputs if v.dtype is None or v.dtype in _DIFFERENTIABLE]
            reached.update(outputs)
            path.append(node)
    return path


def carries_gradient(node: ir.Node) -> bool:
    """False for operators whose output does not vary with the values of their inputs."""
    return node.domain not in ("", "ai.onnx") or node.op_type not in NO_GRADIENT


def missing_rules(score: ir.Value, wrt: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes between `wrt` and the score that have no gradient rule."""
    return [n for n in path_nodes(score, wrt) if find_rule(n.domain, n.op_type) is None]


def _ancestors(score: ir.Value) -> list[ir.Node]:
    """The nodes that the score is computed from, in the graph's (topological) order."""
    seen: set[ir.Node] = set()
    pending = [score.producer()]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        pending.extend(value.producer() for value in node.inputs if value is not None)
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
    for index, value in enumerate(call.node.inputs):
        if value is not None and value in downstream:
            cotangents.setdefault(value, []).append(_product(rule, call, index))


def _rule_for(call: Call) -> Rule:
    rule = find_rule(call.node.domain, call.node.op_type)
    if rule is None:
        raise NoGradientRuleError(
            f"operator {_describe(call.node)} has no gradient rule; methods that need no gradient "
            "(scorecam, fakecam) still run"
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
    except RefusalError as reason:
        raise _refused(call, str(reason)) from None


def _refused(call: Call, reason: str) -> NoGradientRuleError:
    return NoGradientRuleError(
        f"operator {_describe(call.node)} cannot be differentiated: {reason}"
    )


def _describe(node: ir.Node) -> str:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"{operator} (node '{node.name or node.outputs[0].name}')"
