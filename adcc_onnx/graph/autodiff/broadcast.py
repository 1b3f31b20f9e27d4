"""The gradient of broadcasting: a sum over the broadcast axes, for all operators."""

from __future__ import annotations

import numpy as np

from adcc_onnx.graph.autodiff.builder import Dim, Tensor, dims_of
from adcc_onnx.graph.autodiff.call import Call


def unbroadcast(gradient: Tensor, call: Call, index: int) -> Tensor:
    """Sum a gradient over the axes along which an input was broadcast.

    Known shapes determine the axes now; otherwise the graph determines them at run time.

    Args:
        gradient: Gradient of the shape of the output.
        call: Forward node that broadcasts its inputs.
        index: Index of the input.

    Returns:
        The gradient of the shape of input number `index`.
    """
    return sum_to(gradient, dims_of(call.node.outputs[0]), call[index], call.dims(index))


def sum_to(
    gradient: Tensor,
    gradient_dims: tuple[Dim, ...] | None,
    like: Tensor,
    like_dims: tuple[Dim, ...] | None,
) -> Tensor:
    """Sum a gradient to the shape of a tensor that was broadcast.

    Args:
        gradient: Gradient of the broadcast shape.
        gradient_dims: Shape of the gradient as far as it is known.
        like: Tensor that was broadcast.
        like_dims: Shape of `like` as far as it is known.

    Returns:
        The gradient of the shape of `like`.
    """
    axes = _broadcast_axes(gradient_dims, like_dims)
    if axes is None:
        return _sum_at_run_time(gradient, like)
    assert gradient_dims is not None and like_dims is not None
    if not axes:
        return gradient
    extra = len(gradient_dims) - len(like_dims)
    leading = [axis for axis in axes if axis < extra]
    expanded = [axis for axis in axes if axis >= extra]
    if expanded:
        gradient = gradient.sum(expanded, keepdims=True)
    return gradient.sum(leading, keepdims=False) if leading else gradient


def _broadcast_axes(
    full: tuple[Dim, ...] | None, small: tuple[Dim, ...] | None
) -> list[int] | None:
    """The axes of `full` that `small` lacks or has with size 1; None if shapes are unknown."""
    if full is None or small is None:
        return None
    extra = len(full) - len(small)
    axes = list(range(extra))
    for axis, (full_size, size) in enumerate(zip(full[extra:], small, strict=True), start=extra):
        if size == 1:
            if full_size != 1:
                axes.append(axis)
        elif not isinstance(size, int) and (size is None or full_size != size):
            return None
    return axes


def _sum_at_run_time(gradient: Tensor, like: Tensor) -> Tensor:
    """Sum over the axes in which the shapes differ after `like` is padded with leading ones."""
    builder = gradient.builder
    full, small = gradient.shape(), like.shape()
    missing = full.shape() - small.shape()
    ones = builder.op("Expand", builder.constant(np.ones(1, np.int64)), missing)
    padded = builder.op("Concat", ones, small, axis=0)
    differs = full.equals(padded).op("Not")
    axes = differs.op("NonZero").reshape([-1])
    summed = builder.op("ReduceSum", gradient, axes, keepdims=1, noop_with_empty_axes=1)
    return summed.reshape(small)
