"""Resizing: a linear map along each axis, whose transpose brings the gradient back."""

from __future__ import annotations

import numpy as np

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp

_COPIED = (
    "antialias",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "mode",
    "nearest_mode",
)


def resize(g: Tensor, n: Call) -> Tensor:
    """Y = R_h X R_w^T: dX = R_h^T g R_w, axis by axis.

    Each R is found by resizing the identity matrix along one axis: no interpolation formula is
    written down twice. The runtime folds it to a constant. The batch axis is never resized.
    """
    if n.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise UnsupportedNodeError("its coordinate mode tf_crop_and_resize has no rule")
    dims, full = n.dims(0), n.y.dims
    if dims is None or full is None:
        raise UnsupportedNodeError("the shape of its input or output is unknown")
    resized = [axis % len(dims) for axis in n.attribute("axes") or range(1, len(dims))]
    for axis, (small, large) in enumerate(zip(dims, full, strict=True)):
        if small == large or axis not in resized:
            continue
        if not (isinstance(small, int) and isinstance(large, int)):
            raise UnsupportedNodeError(f"the size of its axis {axis} is not fixed (give --size)")
        g = _along(g, axis, len(dims), _matrix(n, axis, small, large))
    return g


def _matrix(n: Call, axis: int, small: int, large: int) -> Tensor:
    """[small, large]: row i is what the i-th pixel alone becomes."""
    builder = n.builder
    identity = builder.constant(np.eye(small, dtype=np.float32))
    attributes = {name: n.attribute(name) for name in _COPIED}
    scale = _scale(n, axis)
    if scale is not None:
        # A given scale need not be the ratio of the sizes: the operator must see the same.
        scales = builder.constant(np.array([1.0, scale], np.float32))
        return identity.op("Resize", None, scales, **attributes)
    return identity.op("Resize", None, None, builder.ints([small, large]), **attributes)


def _scale(n: Call, axis: int) -> float | None:
    """The scale of one axis where scales are given rather than sizes."""
    if not n.has(2):
        return None
    scales = n.static(2).reshape(-1)
    if scales.size == 0:
        return None
    axes = n.attribute("axes") or list(range(n.rank()))
    return float(scales[[a % n.rank() for a in axes].index(axis)])


def _along(g: Tensor, axis: int, rank: int, matrix: Tensor) -> Tensor:
    """Multiply one axis of g by the transpose of `matrix` [small, large]: large -> small."""
    last = [a for a in range(rank) if a != axis] + [axis]
    back = [int(a) for a in np.argsort(last)]
    moved = g.transpose(last).op("MatMul", matrix.cast(g.dtype).transpose([1, 0]))
    return moved.transpose(back)


vjp("Resize", resize, None, None, None)
