"""Infer the shapes of all values of a graph."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from adcc_onnx.graph.passes.custom_shapes import infer_custom_shapes
from adcc_onnx.graph.passes.vector_lengths import longest_vector

_MAX_VECTOR_LENGTH = 2**16


def infer_shapes(model: ir.Model) -> None:
    """Infer shapes as far as possible, in place; all others stay unknown.

    ONNX's inference propagates the contents of shape vectors, unless they could become too long.
    """
    propagate = longest_vector(model.graph) <= _MAX_VECTOR_LENGTH
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=propagate)(model)
    infer_custom_shapes(model)
