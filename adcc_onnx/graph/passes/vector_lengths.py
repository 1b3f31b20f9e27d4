"""How long the vectors are whose numbers ONNX's inference would write out, to find out shapes."""

from __future__ import annotations

import math

import onnx_ir as ir

# What passes numbers on; of these only Concat makes more of them.
_CARRIERS = {
    "Add",
    "Cast",
    "Concat",
    "Div",
    "Gather",
    "Identity",
    "Mul",
    "Slice",
    "Squeeze",
    "Sub",
    "Unsqueeze",
}


def longest_vector(graph: ir.Graph) -> float:
    """An upper bound of the numbers that inference through values would hold for one vector.

    A few nodes can ask for more than there is memory: a Range, or Concats of Concats.
    """
    lengths: dict[ir.Value, float] = {}
    for node in graph:
        if node.op_type in _CARRIERS or node.op_type == "Range":
            given = [lengths.get(v, _length(v)) for v in node.inputs if v is not None]
            length = _numbers(node) if node.op_type == "Range" else max(given, default=1)
            if node.op_type == "Concat":
                length = sum(given)
            lengths.update(dict.fromkeys(node.outputs, length))
    return max(lengths.values(), default=1)


def _length(value: ir.Value) -> int:
    constant = value.const_value
    return constant.size if constant is not None and len(constant.shape) < 2 else 1


def _numbers(node: ir.Node) -> float:
    """How many numbers a Range of constants makes; 1 where the image decides."""
    constants = [ir.convenience.get_const_tensor(v) for v in node.inputs if v is not None]
    if len(constants) != 3 or any(c is None or c.size != 1 for c in constants):
        return 1
    start, limit, step = (float(c.numpy().reshape(-1)[0]) for c in constants if c is not None)
    return math.inf if step == 0 else max(0.0, (limit - start) / step)
