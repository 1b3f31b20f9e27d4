"""Rewrite a Gather that takes every element of a tensor in its order as a Reshape.

PyTorch's exporter writes `as_strided` as a Gather from the flat tensor at computed positions.
Global average pooling contains such a view, which changes nothing but the shape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.passes.fold_constants import fold_constants
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.resolve_shapes import clone_at, sizes_at

# Small, because the positions are computed for all elements of a batch.
_TRIAL_BATCHES = (2, 3)


def rewrite_strided_views(model: ir.Model) -> None:
    """Rewrite the Gathers of a model that are views, in place; values keep their names.

    Args:
        model: A model whose constants are folded and whose shapes are inferred.
    """
    candidates = [node for node in model.graph if _is_candidate(node)]
    if not candidates:
        return
    symbol = _batch_symbol(model)
    batches = (1,) if symbol is None else _TRIAL_BATCHES
    found = [_views_at(model, symbol, batch) for batch in batches]
    for node in candidates:
        shapes = [views.get(node.outputs[0].name or "") for views in found]
        known = [shape for shape in shapes if shape is not None]
        if len(known) == len(shapes):
            _to_reshape(model.graph, node, known, batches)


def _is_candidate(node: ir.Node) -> bool:
    if node.op_type != "Gather" or node.domain or node.inputs[0] is None:
        return False
    flat = node.inputs[0].producer()
    axis = node.attributes.get("axis")
    dims = dims_of(node.inputs[0])
    return (
        (axis is None or axis.as_int() == 0)
        and flat is not None
        and flat.op_type in ("Reshape", "Flatten")
        and dims is not None
        and len(dims) == 1
    )


def _batch_symbol(model: ir.Model) -> Dim:
    """The name of the first axis of the first input that has a name there."""
    firsts = [(dims_of(value) or (None,))[0] for value in model.graph.inputs]
    return next((first for first in firsts if isinstance(first, str)), None)


def _views_at(model: ir.Model, symbol: Dim, batch: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the Gathers that are views at one batch size, by output."""
    clone = model.clone() if symbol is None else clone_at(model, sizes_at(model, symbol, batch))
    infer_shapes(clone)
    fold_constants(clone)
    infer_shapes(clone)
    found = {}
    for node in clone.graph:
        if not _is_candidate(node):
            continue
        dims, positions = dims_of(node.inputs[0]) if node.inputs[0] else None, node.inputs[1]
        constant = None if positions is None else positions.const_value
        if dims is None or constant is None or not isinstance(dims[0], int):
            continue
        if _is_every_position(np.asarray(constant.numpy()), dims[0]):
            found[node.outputs[0].name or ""] = tuple(constant.shape.numpy())
    return found


def _is_every_position(positions: NDArray[Any], size: int) -> bool:
    return positions.size == size and np.array_equal(positions.reshape(-1), np.arange(size))


def _to_reshape(
    graph: ir.Graph, node: ir.Node, shapes: list[tuple[int, ...]], batches: tuple[int, ...]
) -> None:
    sizes = list(shapes[0])
    if len(shapes) > 1:
        grows = [a != b for a, b in zip(*shapes, strict=True)]
        per_sample = [size // batches[0] for size, grown in zip(sizes, grows, strict=True) if grown]
        if (
            len(per_sample) != 1
            or math.prod(shapes[1]) * batches[0] != math.prod(sizes) * batches[1]
        ):
            return
        sizes = [-1 if grown else size for size, grown in zip(sizes, grows, strict=True)]
    value = node.outputs[0]
    constant = ir.val(f"{value.name}/view", const_value=ir.tensor(np.array(sizes, np.int64)))
    graph.register_initializer(constant)
    view = ir.node("Reshape", [node.inputs[0], constant], name=node.name)
    output, name = view.outputs[0], value.name
    output.shape = value.shape
    if value.dtype is not None:
        output.dtype = value.dtype
    graph.insert_before(node, view)
    value.replace_all_uses_with(output, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    output.name = name
