"""Make the batch dimension of a model dynamic."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.resolve_shapes import resolve_shapes

BATCH = "batch"


def fixed_batch(image: ir.Value) -> int | None:
    """Return the batch size that the image input is fixed to; None if it is dynamic."""
    if image.shape is None or not isinstance(image.shape[0], int):
        return None
    return int(image.shape[0])


def make_batch_dynamic(model: ir.Model, image: ir.Value) -> None:
    """Name the batch axis, and rewrite the constants that hold the old batch size; in place.

    A Reshape to [1, ...] becomes a Reshape to [-1, ...], or to [0, ...] if -1 is already used. The
    graph does not tell whether the result is correct for every batch size: the caller must run it.

    Args:
        model: The prepared model.
        image: The image input.
    """
    size = fixed_batch(image)
    assert image.shape is not None
    image.shape = ir.Shape([BATCH, *list(image.shape)[1:]])
    for node in model.graph:
        if size is not None and node.op_type == "Reshape" and node.domain == "":
            _make_reshape_dynamic(model.graph, node, size)
    _clear_shapes(model, keep=image)
    infer_shapes(model)
    resolve_shapes(model, image)


def _make_reshape_dynamic(graph: ir.Graph, node: ir.Node, batch: int) -> None:
    shape = node.inputs[1]
    constant = None if shape is None else shape.const_value
    if constant is None:
        return
    sizes = [int(i) for i in np.asarray(constant.numpy()).reshape(-1)]
    if len(sizes) < 2 or sizes[0] != batch:
        return
    sizes[0] = 0 if -1 in sizes else -1
    dynamic = ir.val(
        f"{node.outputs[0].name}/any_batch", const_value=ir.tensor(np.array(sizes, np.int64))
    )
    graph.register_initializer(dynamic)
    node.replace_input_with(1, dynamic)


def _clear_shapes(model: ir.Model, keep: ir.Value) -> None:
    """Remove the shapes that were stored or inferred with the old batch size."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    for value in model.graph.inputs:
        if value is not keep and value.shape is not None and len(value.shape) > 0:
            value.shape = ir.Shape([BATCH, *list(value.shape)[1:]])
