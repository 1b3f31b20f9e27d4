"""One axis for the images: models exported for a fixed batch made to take any."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.resolve_shapes import resolve_shapes

BATCH = "batch"


def fixed_batch(image: ir.Value) -> int | None:
    """The batch size a model is fixed to, None where it takes any."""
    if image.shape is None or not isinstance(image.shape[0], int):
        return None
    return int(image.shape[0])


def make_batch_dynamic(model: ir.Model, image: ir.Value) -> None:
    """Name the batch axis of `image`, and rewrite the constants that held its size; in place.

    A Reshape to [1, ...] becomes one to [-1, ...], or to [0, ...] where -1 is taken. Whether the
    result is right for every batch cannot be seen from the graph: the caller must run it.
    """
    size = fixed_batch(image)
    assert image.shape is not None
    image.shape = ir.Shape([BATCH, *list(image.shape)[1:]])
    for node in model.graph:
        if size is not None and node.op_type == "Reshape" and node.domain == "":
            _free_reshape(model.graph, node, size)
    _forget_shapes(model, keep=image)
    infer_shapes(model)
    resolve_shapes(model, image)


def _free_reshape(graph: ir.Graph, node: ir.Node, size: int) -> None:
    shape = node.inputs[1]
    constant = None if shape is None else shape.const_value
    if constant is None:
        return
    sizes = [int(i) for i in np.asarray(constant.numpy()).reshape(-1)]
    if len(sizes) < 2 or sizes[0] != size:
        return
    sizes[0] = 0 if -1 in sizes else -1
    freed = ir.val(
        f"{node.outputs[0].name}/any_batch", const_value=ir.tensor(np.array(sizes, np.int64))
    )
    graph.register_initializer(freed)
    node.replace_input_with(1, freed)


def _forget_shapes(model: ir.Model, keep: ir.Value) -> None:
    """Shapes that were stored or inferred with the old batch size."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    for value in model.graph.inputs:
        if value is not keep and value.shape is not None and len(value.shape) > 0:
            value.shape = ir.Shape([BATCH, *list(value.shape)[1:]])
