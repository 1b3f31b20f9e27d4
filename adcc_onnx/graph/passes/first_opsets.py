"""Bring models of opset 1 to 6 to a form that ONNX's version converter upgrades without a mistake.

The converter has no adapters for some operators of opset 1 to 5. It also expands the second operand
of an operator that broadcasts from a given axis by one axis too many.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import dims_of

INFERRED_OPSET = 6  # the first opset in which ONNX infers the shapes of ReLU and the like
BROADCASTING_OPSET = 7  # the first opset in which operators broadcast as NumPy does
_BROADCAST = {"Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"}


def upgrade_first_opsets(model: ir.Model) -> None:
    """Upgrade the standard operators from opset 1 to 5 to opset 6, in place.

    Args:
        model: A model of one of these opsets.
    """
    for node in list(model.graph):
        if node.domain in ("", "ai.onnx"):
            node.attributes.pop("consumed_inputs", None)
            if node.op_type in _CHANGES:
                _CHANGES[node.op_type](model.graph, node)
    for domain in ("", "ai.onnx"):
        if domain in model.opset_imports:
            model.opset_imports[domain] = INFERRED_OPSET


def write_out_broadcasts(model: ir.Model) -> None:
    """Append axes of size 1 to the operands that an old operator broadcasts from an axis; in place.

    Args:
        model: A model of opset 6 with inferred shapes.
    """
    for node in list(model.graph):
        if node.domain not in ("", "ai.onnx") or len(node.inputs) < 2:
            continue
        first, second = (dims_of(v) if v is not None else None for v in node.inputs[:2])
        if first is None or second is None:
            continue
        if node.op_type in _BROADCAST and "axis" in node.attributes:
            axis = node.attributes.get_int("axis", 0) % max(len(first), 1)
            del node.attributes["axis"]
            _append_axes(model.graph, node, len(second), len(first) - axis - len(second))
        elif node.op_type == "PRelu" and len(second) == 1 and second[0] != 1:
            _append_axes(model.graph, node, 1, len(first) - 2)


def _append_axes(graph: ir.Graph, node: ir.Node, rank: int, count: int) -> None:
    """Give the second operand of a node more axes of size 1."""
    if count < 1:
        return
    axes = list(range(rank, rank + count))
    longer = ir.node("Unsqueeze", [node.inputs[1]], {"axes": axes})
    longer.outputs[0].name = f"{node.outputs[0].name}/operand"
    graph.insert_before(node, longer)
    node.replace_input_with(1, longer.outputs[0])


def _concat(graph: ir.Graph, node: ir.Node) -> None:
    node.attributes.setdefault("axis", ir.AttrInt64("axis", 1))


def _cast(graph: ir.Graph, node: ir.Node) -> None:
    """The type was a name, such as "FLOAT"."""
    to = node.attributes.get("to")
    if to is not None and to.type == ir.AttributeType.STRING:
        number = onnx.TensorProto.DataType.Value(to.as_string())
        node.attributes["to"] = ir.AttrInt64("to", number)


def _pad(graph: ir.Graph, node: ir.Node) -> None:
    pads = node.attributes.pop("paddings", None)
    if pads is not None:
        node.attributes["pads"] = ir.AttrInt64s("pads", list(pads.as_ints()))


def _power(graph: ir.Graph, node: ir.Node) -> None:
    """The exponent p was a floating-point number."""
    p = node.attributes.get("p")
    if p is not None and p.type == ir.AttributeType.FLOAT:
        node.attributes["p"] = ir.AttrInt64("p", round(p.as_float()))


def _reshape(graph: ir.Graph, node: ir.Node) -> None:
    shape = node.attributes.pop("shape", None)
    if shape is not None and len(node.inputs) == 1:
        sizes = np.array(list(shape.as_ints()), np.int64)
        constant = ir.val(f"{node.outputs[0].name}/shape", const_value=ir.tensor(sizes))
        graph.register_initializer(constant)
        node.resize_inputs(2)
        node.replace_input_with(1, constant)


def _split(graph: ir.Graph, node: ir.Node) -> None:
    """The sizes were an input."""
    sizes = node.inputs[1] if len(node.inputs) > 1 else None
    constant = None if sizes is None else ir.convenience.get_const_tensor(sizes)
    if constant is not None:
        numbers = [int(size) for size in constant.numpy().reshape(-1)]
        node.attributes["split"] = ir.AttrInt64s("split", numbers)
        node.resize_inputs(1)


_CHANGES: dict[str, Callable[[ir.Graph, ir.Node], None]] = {
    "Cast": _cast,
    "Concat": _concat,
    "GlobalLpPool": _power,
    "LpPool": _power,
    "Pad": _pad,
    "Reshape": _reshape,
    "Split": _split,
}
