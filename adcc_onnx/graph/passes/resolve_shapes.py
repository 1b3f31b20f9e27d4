"""Shapes that hang on the batch: found by trying two batches, and seeing what stays the same.

Exporters write the sizes of Reshapes as arithmetic on the batch; symbolic inference loses its way
there, arithmetic on a given number does not.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.loading.checks import check_sizes
from adcc_onnx.graph.passes.fold_constants import replace_constants
from adcc_onnx.graph.passes.infer_shapes import infer_shapes

# Primes that are no size of anything else.
_BATCHES = (997, 1009)


def resolve_shapes(model: ir.Model, image: ir.Value) -> None:
    """Fill in the shapes of a model with an open batch, in place.

    Raises:
        ModelError: a value is too large for an image classifier.
    """
    _resolve(model, image)
    check_sizes(model)


def _resolve(model: ir.Model, image: ir.Value) -> None:
    batch = (dims_of(image) or (None,))[0]
    values = [value for node in model.graph for value in node.outputs]
    if isinstance(batch, int) or all(_is_known(value, batch) for value in values):
        return
    one, other = (_shapes_at(model, image, count) for count in _BATCHES)
    for value in values:
        found = _agreed(one.get(value.name or ""), other.get(value.name or ""), batch)
        if found is not None:
            value.shape = ir.Shape(found)
    for node in model.graph:
        _settle_reshape(model.graph, node)


def _settle_reshape(graph: ir.Graph, node: ir.Node) -> None:
    """Give a Reshape of known result its sizes as constants, so that no arithmetic is left."""
    if node.op_type != "Reshape" or node.domain or node.inputs[1] is None:
        return
    dims = dims_of(node.outputs[0])
    if node.inputs[1].const_value is not None or dims is None or 0 in dims:
        return
    sizes = [size if isinstance(size, int) else -1 for size in dims]
    if sizes.count(-1) > 1:
        return
    name = f"{node.outputs[0].name}/sizes"
    constant = ir.val(name, const_value=ir.tensor(np.array(sizes, np.int64)))
    graph.register_initializer(constant)
    node.replace_input_with(1, constant)


def _is_known(value: ir.Value, batch: Dim) -> bool:
    dims = dims_of(value)
    return dims is not None and all(isinstance(d, int) or d == batch for d in dims)


def _shapes_at(model: ir.Model, image: ir.Value, batch: int) -> dict[str, tuple[Dim, ...]]:
    trial = model.clone()
    for value in trial.graph.inputs:
        if value.name == image.name and value.shape is not None:
            value.shape = ir.Shape([batch, *list(value.shape)[1:]])
    for node in trial.graph:
        for value in node.outputs:
            value.shape = None
    infer_shapes(trial)
    replace_constants(trial)
    infer_shapes(trial)
    values = [value for node in trial.graph for value in node.outputs]
    return {v.name: dims for v in values if v.name and (dims := dims_of(v)) is not None}


def _agreed(
    one: tuple[Dim, ...] | None, other: tuple[Dim, ...] | None, batch: Dim
) -> list[Dim] | None:
    """Sizes that are the same for both batches, the batch where they are the batch itself."""
    if one is None or other is None or len(one) != len(other):
        return None
    first, second = _BATCHES
    return [
        batch if (a, b) == (first, second) else a if a == b else None
        for a, b in zip(one, other, strict=True)
    ]
