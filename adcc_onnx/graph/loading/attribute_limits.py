"""Refuse attributes and constants that no operator allows, before a native library divides by them.

onnxruntime computes with some of these values unchecked, and the process dies of a signal.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

# Attributes that count or divide something: each number must be at least 1.
_AT_LEAST_ONE = frozenset(
    {
        "block_size",
        "blocksize",
        "dilations",
        "group",
        "hidden_size",
        "kernel_shape",
        "kv_num_heads",
        "num_groups",
        "num_heads",
        "num_outputs",
        "q_num_heads",
        "strides",
    }
)
_SIZED = ("LRN",)  # operators whose attribute `size` is a window
_ZERO_IS_DEFAULT = {"block_size": ("DequantizeLinear", "QuantizeLinear")}


def find_impossible_attribute(node: ir.Node) -> str | None:
    """Say which attribute of a node has a value that its operator does not allow.

    Args:
        node: A node of any operator.

    Returns:
        A reason such as "its attribute group is 0"; None if every attribute is possible.
    """
    for name, attribute in node.attributes.items():
        if name not in _AT_LEAST_ONE and not (name == "size" and node.op_type in _SIZED):
            continue
        if attribute.is_ref() or node.op_type in _ZERO_IS_DEFAULT.get(name, ()):
            continue
        kind = attribute.type
        if kind not in (ir.AttributeType.INT, ir.AttributeType.INTS):
            continue
        numbers = [attribute.value] if kind is ir.AttributeType.INT else list(attribute.value)
        if any(number < 1 for number in numbers):
            return f"its attribute {name} is {attribute.value}; it must be at least 1"
    return None


def find_impossible_divisor(node: ir.Node) -> str | None:
    """Say why an integer division cannot be run safely.

    An integer division by 0, and the least integer divided by -1, end the process.

    Args:
        node: A node of any operator, in a graph whose constants are initializers and whose types
            are known.

    Returns:
        A reason; None if the node is no integer division, or if its divisor is harmless.
    """
    if node.domain or node.op_type not in ("Div", "Mod") or len(node.inputs) < 2:
        return None
    divisor = node.inputs[1]
    if divisor is None or divisor.dtype is None or not divisor.dtype.is_integer():
        return None
    constant = divisor.const_value
    if constant is None:
        if _depends_on_sizes_alone(divisor):
            return None
        return "it divides integers by a number that depends on the image"
    numbers = np.unique(constant.numpy())
    for forbidden in (0, -1):
        if forbidden in numbers:
            return f"it divides integers by {forbidden}"
    return None


def _depends_on_sizes_alone(value: ir.Value) -> bool:
    """Whether a value is computed from constants and the sizes of tensors."""
    seen, pending = {value}, [value]
    while pending:
        current = pending.pop()
        if current.is_graph_input():
            return False
        node = current.producer()
        if node is None or node.op_type in ("Shape", "Size"):
            continue
        new = {v for v in node.inputs if v is not None} - seen
        seen |= new
        pending.extend(new)
    return True
