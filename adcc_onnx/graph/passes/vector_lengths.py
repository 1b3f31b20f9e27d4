"""Bound the length of the shape vectors that ONNX's shape inference would compute."""

from __future__ import annotations

import math

import onnx_ir as ir

# Operators through which ONNX's inference propagates values; of these only Concat adds elements.
_PROPAGATED = {
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
    """Return an upper bound of the length of any vector whose values inference would compute.

    A few nodes can ask for more memory than there is, with a Range or repeated Concats.
    """
    lengths: dict[ir.Value, float] = {}
    for node in graph:
        if node.op_type in _PROPAGATED or node.op_type == "Range":
            inputs = [lengths.get(v, _length(v)) for v in node.inputs if v is not None]
            length = _range_length(node) if node.op_type == "Range" else max(inputs, default=1)
            if node.op_type == "Concat":
                length = sum(inputs)
            lengths.update(dict.fromkeys(node.outputs, length))
    return max(lengths.values(), default=1)


def _length(value: ir.Value) -> int:
    constant = value.const_value
    return constant.size if constant is not None and len(constant.shape) < 2 else 1


def _range_length(node: ir.Node) -> float:
    """Return the length of a constant Range; 1 if it is not constant."""
    constants = [ir.convenience.get_const_tensor(v) for v in node.inputs if v is not None]
    if len(constants) != 3 or any(c is None or c.size != 1 for c in constants):
        return 1
    start, limit, step = (float(c.numpy().reshape(-1)[0]) for c in constants if c is not None)
    return math.inf if step == 0 else max(0.0, (limit - start) / step)
