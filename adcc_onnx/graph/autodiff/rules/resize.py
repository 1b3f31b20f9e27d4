"""Gradient rule of Resize: the transpose of a linear map along each axis."""

from __future__ import annotations

import numpy as np

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp

_ATTRIBUTES = (
    "antialias",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "mode",
    "nearest_mode",
)


def resize(g: Tensor, n: Call) -> Tensor:
    """Resize, Y = R_h X R_w^T: dX = R_h^T g R_w, axis by axis.

    Each R is built by resizing the identity matrix along one axis, so no interpolation formula is
    repeated here; the runtime folds it to a constant. The batch axis is never resized.
    """
    if n.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise UnsupportedNodeError("its coordinate mode tf_crop_and_resize is not supported")
    dims, output_dims = n.dims(0), n.y.dims
    if dims is None or output_dims is None:
        raise UnsupportedNodeError("the shape of its input or output is unknown")
    resized = [axis % len(dims) for axis in n.attribute("axes") or range(1, len(dims))]
    for axis, (size, output_size) in enumerate(zip(dims, output_dims, strict=True)):
        if size == output_size or axis not in resized:
            continue
        if not (isinstance(size, int) and isinstance(output_size, int)):
            raise UnsupportedNodeError(f"the size of its axis {axis} is not fixed (give --size)")
        g = _multiply_axis(g, axis, len(dims), _matrix(n, axis, size, output_size))
    return g


def _matrix(n: Call, axis: int, size: int, output_size: int) -> Tensor:
    """The matrix R^T [size, output size]: row i is the resized unit vector of pixel i."""
    builder = n.builder
    identity = builder.constant(np.eye(size, dtype=np.float32))
    attributes = {name: n.attribute(name) for name in _ATTRIBUTES}
    scale = _scale(n, axis)
    if scale is not None:
        # The scale of the node may differ from the ratio of the sizes, so pass the scale itself.
        scales = builder.constant(np.array([1.0, scale], np.float32))
        return identity.op("Resize", None, scales, **attributes)
    return identity.op("Resize", None, None, builder.ints([size, output_size]), **attributes)


def _scale(n: Call, axis: int) -> float | None:
    """The scale of one axis, None if the node states sizes instead of scales."""
    if not n.has(2):
        return None
    scales = n.constant_value(2).reshape(-1)
    if scales.size == 0:
        return None
    axes = n.attribute("axes") or list(range(n.rank()))
    return float(scales[[a % n.rank() for a in axes].index(axis)])


def _multiply_axis(g: Tensor, axis: int, rank: int, matrix: Tensor) -> Tensor:
    """Multiply one axis of g by the transpose of a matrix [size, output size]."""
    axis_last = [a for a in range(rank) if a != axis] + [axis]
    inverse = [int(a) for a in np.argsort(axis_last)]
    product = g.transpose(axis_last).op("MatMul", matrix.cast(g.dtype).transpose([1, 0]))
    return product.transpose(inverse)


vjp("Resize", resize, None, None, None)
