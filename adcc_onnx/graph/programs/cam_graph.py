"""Raw maps from A and g as a graph of their own, for devices whose values are better left there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, LOWEST_OPSET, Builder, Dim, Tensor
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.passes.dynamic_batch import BATCH
from adcc_onnx.graph.programs.endpoints import PREFIX, add_output
from adcc_onnx.graph.programs.instrument import ACTIVATIONS, GRADIENTS

# From A and g, [N, K, h, w], to maps [N, h, w].
MapFormula = Callable[[Tensor, Tensor | None], Tensor]
_IR_VERSION = 8  # the first with the lowest operator set that we write


def build_cam_graph(formulas: Sequence[MapFormula], layer: Layer) -> ir.Model:
    """The maps of all formulas, side by side.

    Inputs are `activations` and `gradients`, float32 [batch, K, h, w]; the outputs are named "0",
    "1", ... in the order of the formulas, float32 [batch, h, w].
    """
    shape: list[Dim] = [BATCH, layer.channels, *layer.grid]
    inputs = [ir.val(name, dtype=FLOAT, shape=shape) for name in (ACTIVATIONS, GRADIENTS)]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": LOWEST_OPSET}, name="assembly")
    builder = Builder(graph, PREFIX)
    activations, gradients = (builder.wrap(value) for value in inputs)
    for index, formula in enumerate(formulas):
        add_output(builder, formula(activations, gradients), str(index), (BATCH, *layer.grid))
    graph.sort()
    return ir.Model(graph, ir_version=_IR_VERSION)
