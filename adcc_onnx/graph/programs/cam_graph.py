"""Compute raw maps from activations and gradients in a graph, for devices with their own memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, LOWEST_OPSET, Builder, Dim, Tensor
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.passes.dynamic_batch import BATCH
from adcc_onnx.graph.programs.endpoints import add_output
from adcc_onnx.graph.programs.tensor_names import ACTIVATIONS, GRADIENTS, NAME_PREFIX

# Computes raw maps [N, h, w] from activations and gradients [N, K, h, w].
MapFormula = Callable[[Tensor, Tensor | None], Tensor]
_IR_VERSION = 8  # the IR version that was released with opset 18


def build_cam_graph(formulas: Sequence[MapFormula], layer: Layer) -> ir.Model:
    """Build a model that computes the raw maps of several methods.

    The inputs are `activations` and `gradients`, float32 [batch, K, h, w].

    Args:
        formulas: One formula per method.
        layer: The layer, which gives the shape of the inputs.

    Returns:
        The model; its outputs "0", "1", ... are the maps of the formulas, float32 [batch, h, w].
    """
    dims: list[Dim] = [BATCH, layer.channels, *layer.grid]
    inputs = [ir.val(name, dtype=FLOAT, shape=dims) for name in (ACTIVATIONS, GRADIENTS)]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": LOWEST_OPSET}, name="cam_graph")
    builder = Builder(graph, NAME_PREFIX)
    activations, gradients = (builder.wrap(value) for value in inputs)
    for index, formula in enumerate(formulas):
        add_output(builder, formula(activations, gradients), str(index), (BATCH, *layer.grid))
    graph.sort()
    return ir.Model(graph, ir_version=_IR_VERSION)
