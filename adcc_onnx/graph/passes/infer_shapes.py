"""Infer the shapes of all values of a graph."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from adcc_onnx.graph.passes.custom_shapes import infer_custom_shapes
from adcc_onnx.graph.passes.vector_lengths import longest_vector

_MOST_NUMBERS = 2**16  # elements


def infer_shapes(model: ir.Model) -> None:
    """Infer what shapes can be inferred, in place; what cannot stays unknown."""
    through_values = longest_vector(model.graph) <= _MOST_NUMBERS
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=through_values)(model)
    infer_custom_shapes(model)
