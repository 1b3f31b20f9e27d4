"""Find which tokens the scores of a transformer read."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layouts import TOKEN_LAYOUTS


def read_tokens(
    classifier: Classifier, tokens: int, layouts: dict[ir.Value, str]
) -> tuple[int, int]:
    """Return the tokens that the scores are computed from: a class token, or all that are pooled.

    Args:
        classifier: The classifier.
        tokens: The number of tokens of the last attention, with class and register tokens.
        layouts: The result of `infer_layouts`.

    Returns:
        The first token, and the one after the last token.
    """
    nodes = classifier.forward_nodes()
    of_tokens = [
        value
        for node in nodes
        for value in node.outputs
        if layouts.get(value) in TOKEN_LAYOUTS and _count(value, layouts[value]) == tokens
    ]
    if not of_tokens:
        return 0, tokens
    last, on_path = of_tokens[-1], set(nodes)
    axis = layouts[last].index("T")
    ranges = [_range(node, axis, tokens) for node in last.consumers() if node in on_path]
    starts, stops = zip(*ranges, strict=True) if ranges else ((0,), (tokens,))
    return min(starts), max(stops)


def _count(value: ir.Value, layout: str) -> object:
    return (dims_of(value) or ())[layout.index("T")]


def _range(node: ir.Node, axis: int, tokens: int) -> tuple[int, int]:
    """Return the range of the tokens that an operator takes: all, unless it selects some."""
    everything = (0, tokens)
    if node.op_type == "Gather" and node.attributes.get_int("axis", 0) % 3 == axis:
        indices = _constant(node, 1)
        if indices is not None and indices.size:
            chosen = indices.reshape(-1) % tokens
            return int(chosen.min()), int(chosen.max()) + 1
    if node.op_type == "Slice":
        starts, ends, axes = (_constant(node, index) for index in (1, 2, 3))
        if starts is None or ends is None or axes is None:
            return everything
        for start, end, sliced in zip(starts, ends, axes, strict=True):
            if int(sliced) % 3 == axis:
                first, stop, _ = slice(int(start), int(end)).indices(tokens)
                return first, max(stop, first + 1)
    return everything


def _constant(node: ir.Node, index: int) -> np.ndarray | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())
