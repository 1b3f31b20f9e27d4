"""Resolve shapes that depend on the batch size, by comparing two concrete batch sizes.

Exporters write the sizes of a Reshape as arithmetic on the batch size. Symbolic shape inference
cannot follow that arithmetic, but inference with a concrete batch size can. Sizes that are equal
for two batch sizes do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.loading.checks import check_sizes
from adcc_onnx.graph.passes.fold_constants import fold_constants
from adcc_onnx.graph.passes.infer_shapes import infer_shapes

# Primes that are unlikely to be the size of any other axis.
TRIAL_BATCHES = (997, 1009)


def resolve_shapes(model: ir.Model, image: ir.Value) -> None:
    """Fill in the unknown shapes of a model with a dynamic batch size, in place.

    Args:
        model: The prepared model.
        image: The image input.

    Raises:
        ModelError: A value is too large for an image classifier.
    """
    _resolve(model, image)
    check_sizes(model)


def _resolve(model: ir.Model, image: ir.Value) -> None:
    batch = (dims_of(image) or (None,))[0]
    values = [value for node in model.graph for value in node.outputs]
    if isinstance(batch, int) or all(_is_known(value, batch) for value in values):
        return
    first, second = (shapes_at(model, image, size) for size in TRIAL_BATCHES)
    for value in values:
        dims = _common_dims(first.get(value.name or ""), second.get(value.name or ""), batch)
        if dims is not None:
            value.shape = ir.Shape(dims)
    for node in model.graph:
        _make_reshape_constant(model.graph, node)


def _make_reshape_constant(graph: ir.Graph, node: ir.Node) -> None:
    """Replace the computed sizes of a Reshape by constants, if its output shape is known."""
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


def clone_at(model: ir.Model, sizes: Mapping[str, Sequence[Dim]]) -> ir.Model:
    """Clone a model with other shapes of its inputs; the shapes behind them become unknown.

    Args:
        model: The model, which is not changed.
        sizes: The new shapes of inputs, by the input's name.
    """
    clone = model.clone()
    for value in clone.graph.inputs:
        dims = sizes.get(value.name or "")
        if dims is not None:
            value.shape = ir.Shape(dims)
    for node in clone.graph:
        for value in node.outputs:
            value.shape = None
    return clone


def sizes_at(model: ir.Model, symbol: Dim, batch: int) -> dict[str, list[Dim]]:
    """Return the shapes of a model's inputs with a batch size in place of its symbol."""
    known = {value.name or "": dims_of(value) for value in model.graph.inputs}
    return {
        name: [batch if dim == symbol else dim for dim in dims]
        for name, dims in known.items()
        if dims is not None
    }


def shapes_at(model: ir.Model, image: ir.Value, batch: int) -> dict[str, tuple[Dim, ...]]:
    """Infer the shapes of all values at one concrete batch size."""
    own = dims_of(image) or (None,)
    sizes: dict[str, list[Dim]] = {}
    for value in model.graph.inputs:
        dims = dims_of(value)
        # Further inputs may share the batch dimension by its name.
        shares = isinstance(own[0], str) and (dims or (None,))[0] == own[0]
        if (value.name == image.name or shares) and dims is not None:
            sizes[value.name or ""] = [batch, *dims[1:]]
    clone = clone_at(model, sizes)
    infer_shapes(clone)
    fold_constants(clone)
    infer_shapes(clone)
    values = [value for node in clone.graph for value in node.outputs]
    return {v.name: dims for v in values if v.name and (dims := dims_of(v)) is not None}


def _common_dims(
    first: tuple[Dim, ...] | None, second: tuple[Dim, ...] | None, batch: Dim
) -> list[Dim] | None:
    """Merge the shapes at both trial batches: equal sizes stay, trial sizes become the batch."""
    if first is None or second is None or len(first) != len(second):
        return None
    return [
        batch if (a, b) == TRIAL_BATCHES else a if a == b else None
        for a, b in zip(first, second, strict=True)
    ]
