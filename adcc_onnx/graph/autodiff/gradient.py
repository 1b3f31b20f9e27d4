"""Reverse-mode differentiation of an ONNX graph: the gradient becomes more graph.

The nodes between the requested values and the score are visited in reverse order. The rule of each
node computes the gradients of its inputs from the gradients of its outputs (the chain rule).
Gradients that reach a value through several consumers are added. Only nodes on a path from a
requested value to the score are visited, so no unused gradient is computed.

Source: Griewank and Walther, *Evaluating Derivatives*, 2nd ed. (SIAM 2008), chapter 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence

import onnx_ir as ir

from adcc_onnx.errors import AdccWarning, ControlFlowError, NoGradientPathError, NoGradientRuleError
from adcc_onnx.graph.autodiff.broadcast import unbroadcast
from adcc_onnx.graph.autodiff.builder import FLOAT, QUANTIZED, Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call, DetachedNode, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import (
    NO_GRADIENT,
    STRAIGHT_THROUGH,
    Formula,
    Rule,
    find_rule,
)

# Why a control flow operator remains after constant folding and unrolling, for error messages.
CONTROL_FLOW = {
    "If": "its condition is not constant",
    "Loop": "its number of iterations is not constant, or too large to unroll",
    "Scan": "its number of iterations is not constant, or too large to unroll",
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
        builder: Builder of the graph that contains all the values.
        score: Value to differentiate, of any shape.
        seed: Gradient (cotangent) of the score, of the shape of the score.
        wrt: Values of the graph, of any rank.

    Returns:
        One gradient per value, of the shape of that value. Gradients of float16 and bfloat16
        values are float32.

    Raises:
        NoGradientRuleError: An operator on a path has no rule, or its rule does not support it.
        NoGradientPathError: The score does not depend on one of the values.

    Example:
        The gradient of tanh(x) takes three operators, y = Tanh(x) and seed * (1 - y * y):

        >>> import onnx
        >>> text = '<ir_version: 10, opset_import: ["": 18]> g (float[2] x) => (float[2] y) '
        >>> model = ir.from_proto(onnx.parser.parse_model(text + "{ y = Tanh (x) }"))
        >>> builder = Builder(model.graph, "gradient/")
        >>> seed = builder.constant([1.0, 1.0], FLOAT)
        >>> (dx,) = gradients(builder, model.graph.outputs[0], seed, model.graph.inputs)
        >>> [node.op_type for node in model.graph], dx.dims
        (['Tanh', 'Mul', 'Sub', 'Mul'], (2,))
    """
    results = []
    found = gradients_or_none(builder, score, seed, wrt)
    for value, gradient in zip(wrt, found, strict=True):
        if gradient is None:
            name = "the image" if value.is_graph_input() else f"'{value.name}'"
            raise NoGradientPathError(
                f"the scores do not depend on {name} through operators that have a gradient; "
                "choose another layer (`adcc-onnx inspect` lists them)"
            )
        results.append(gradient)
    if any(node.op_type == "Sign" for node in path_nodes([score], wrt)):
        warnings.warn(
            "the network is binarized (operator Sign): its gradients are straight-through "
            "estimates, as in training",
            AdccWarning,
            stacklevel=2,
        )
    return results


def gradients_or_none(
    builder: Builder, score: ir.Value, seed: Tensor, wrt: Sequence[ir.Value]
) -> list[Tensor | None]:
    """Append gradients as `gradients` does, without those of values that have no influence.

    The score may itself be a gradient: the results are then second derivatives.

    Args:
        builder: Builder of the graph that contains all the values.
        score: Value to differentiate, of any shape.
        seed: Gradient (cotangent) of the score, of the shape of the score.
        wrt: Values of the graph, of any rank.

    Returns:
        One gradient per value; None for a value that the score does not depend on.

    Raises:
        NoGradientRuleError: An operator on a path has no rule, or its rule does not support it.
    """
    return _backpropagate(builder, {score: seed}, wrt)


def _backpropagate(
    builder: Builder, seeds: dict[ir.Value, Tensor], wrt: Sequence[ir.Value]
) -> list[Tensor | None]:
    """The gradient of each value of `wrt`, None where the scores do not depend on it."""
    # The path is determined before nodes are appended, so that it contains forward nodes only.
    path = path_nodes(seeds, wrt)
    on_path = {value for node in path for value in _differentiable_outputs(node)} | set(wrt)
    partials = {value: [seed] for value, seed in seeds.items()}
    for node in reversed(path):
        output_gradients = [_accumulated(builder, partials, value) for value in node.outputs]
        if any(g is not None for g in output_gradients):
            with builder.scope(node.name):
                _visit(Call(builder, node, output_gradients), on_path, partials)
    return [_accumulated(builder, partials, value) for value in wrt]


def path_nodes(scores: Iterable[ir.Value], wrt: Iterable[ir.Value]) -> list[ir.Node]:
    """Return the nodes on differentiable paths from values to scores.

    Args:
        scores: Ends of the paths.
        wrt: Starts of the paths.

    Returns:
        The nodes in topological order.
    """
    reached = set(wrt)
    path = []
    for node in _ancestors(scores):
        if _is_differentiable(node) and any(value in reached for value in all_inputs(node)):
            reached.update(_differentiable_outputs(node))
            path.append(node)
    return path


def _is_differentiable(node: ir.Node) -> bool:
    """Whether the outputs of a node depend on the values of its inputs."""
    return node.domain not in ("", "ai.onnx") or node.op_type not in NO_GRADIENT


def missing_rules(score: ir.Value, wrt: Iterable[ir.Value]) -> list[ir.Node]:
    """Return the nodes that have no gradient rule between values and the score.

    Args:
        score: End of the paths.
        wrt: Starts of the paths.

    Returns:
        The nodes in topological order.
    """
    return [n for n in path_nodes([score], wrt) if find_rule(n.domain, n.op_type) is None]


def _differentiable_outputs(node: ir.Node) -> list[ir.Value]:
    """The outputs of floating-point type, and quantized values that a node passes on."""
    if node.op_type in STRAIGHT_THROUGH:
        return [node.outputs[0]]
    quantized = QUANTIZED if node.op_type != "Cast" else set()
    dtypes = _DIFFERENTIABLE | quantized | {None}
    return [value for value in node.outputs if value.dtype in dtypes]


def all_inputs(node: ir.Node) -> Iterator[ir.Value]:
    """Iterate over the inputs of a node and the outer values that its subgraphs capture.

    Args:
        node: Node, with subgraphs if it is a control flow operator.

    Yields:
        The values in order, possibly repeatedly.
    """
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            body = attribute.as_graph()
            for inner in body:
                yield from (value for value in all_inputs(inner) if value.graph is not body)
            yield from (value for value in body.outputs if value.graph is not body)


def _ancestors(scores: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes that the scores are computed from, in the graph's (topological) order."""
    visited: set[ir.Node] = set()
    pending = [score.producer() for score in scores]
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        pending.extend(value.producer() for value in all_inputs(node))
    first = next(iter(visited), None)
    return [] if first is None or first.graph is None else [n for n in first.graph if n in visited]


def _accumulated(
    builder: Builder, partials: dict[ir.Value, list[Tensor]], value: ir.Value
) -> Tensor | None:
    """The sum of the partial gradients of a value; it replaces them, so it is added only once."""
    parts = partials.get(value)
    if parts is None:
        return None
    if len(parts) > 1:
        partials[value] = [builder.op("Sum", *parts)]
    return partials[value][0]


def _visit(call: Call, on_path: set[ir.Value], partials: dict[ir.Value, list[Tensor]]) -> None:
    """Add the partial gradients of a node to its inputs on the path."""
    rule = _rule_for(call)
    indices = [i for i, v in enumerate(call.node.inputs) if v is not None and v in on_path]
    if rule.formula is not None:
        products = _differentiate_formula(rule.formula, call, indices)
    else:
        products = [_vector_jacobian_product(rule, call, index) for index in indices]
    for index, product in zip(indices, products, strict=True):
        value = call.node.inputs[index]
        if product is not None and value is not None:
            partials.setdefault(value, []).append(product)


def _differentiate_formula(
    formula: Formula, call: Call, indices: Sequence[int]
) -> list[Tensor | None]:
    """Append the node's decomposition into simpler operators and differentiate that."""
    leaves = {index: call[index].cast(FLOAT).op("Identity") for index in indices}
    try:
        results = formula(DetachedNode(call.builder, call.node, leaves))
    except UnsupportedNodeError as reason:
        raise _unsupported(call, str(reason)) from None
    outputs = results if isinstance(results, list) else [results]
    seeds = {}
    for number, gradient in enumerate(call.gradients):
        result = outputs[number] if number < len(outputs) else None
        if gradient is not None and result is None:
            raise _unsupported(call, f"the scores depend on its output number {number + 1}")
        if gradient is not None and result is not None:
            seeds[result.value] = gradient
    return _backpropagate(call.builder, seeds, [leaf.value for leaf in leaves.values()])


def _rule_for(call: Call) -> Rule:
    rule = find_rule(call.node.domain, call.node.op_type)
    if call.node.op_type in CONTROL_FLOW and not call.node.domain:
        raise _unsupported(call, CONTROL_FLOW[call.node.op_type], ControlFlowError)
    if rule is None:
        raise _unsupported(
            call,
            "it has no gradient rule; methods that need no gradient (scorecam, fakecam) still run",
        )
    limit = len(call.node.outputs) if rule.outputs is None else rule.outputs
    if any(g is not None for g in call.gradients[limit:]):
        raise _unsupported(call, f"the scores depend on its output number {limit + 1}")
    return rule


def _vector_jacobian_product(rule: Rule, call: Call, index: int) -> Tensor:
    vjp = rule.vjp_of(index)
    if vjp is None:
        raise _unsupported(call, f"it has no gradient with respect to its input number {index + 1}")
    g = next(gradient for gradient in call.gradients if gradient is not None)
    try:
        gradient = vjp(g, call)
        return unbroadcast(gradient, call, index) if rule.broadcasts else gradient
    except UnsupportedNodeError as reason:
        raise _unsupported(call, str(reason)) from None


def _unsupported(
    call: Call, reason: str, error: type[NoGradientRuleError] = NoGradientRuleError
) -> NoGradientRuleError:
    message = f"operator {_describe(call.node)} cannot be differentiated: {reason}"
    return error(message, call.node.outputs[0].name or "")


def _describe(node: ir.Node) -> str:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"{operator} (node '{node.name or node.outputs[0].name}')"
