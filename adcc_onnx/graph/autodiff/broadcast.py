"""Un-broadcasting, in one place: a gradient of the output's shape back to an input's shape."""

from __future__ import annotations

import numpy as np

from adcc_onnx.graph.autodiff.builder import Dim, Tensor, dims_of
from adcc_onnx.graph.autodiff.call import Call


def unbroadcast(gradient: Tensor, call: Call, index: int) -> Tensor:
    """Sum a gradient of `call`'s output shape over the axes along which input `index` was repeated.

    Shapes that are known decide it now; otherwise the graph finds the axes when it runs.
    """
    return sum_to(gradient, dims_of(call.node.outputs[0]), call[index], call.dims(index))


def sum_to(
    gradient: Tensor,
    full: tuple[Dim, ...] | None,
    like: Tensor,
    small: tuple[Dim, ...] | None,
) -> Tensor:
    """Sum `gradient` of shape `full` to the shape `small` of `like`, which was broadcast."""
    axes = _repeated_axes(full, small)
    if axes is None:
        return _sum_when_run(gradient, like)
    assert full is not None and small is not None
    if not axes:
        return gradient
    extra = len(full) - len(small)
    leading = [axis for axis in axes if axis < extra]
    stretched = [axis for axis in axes if axis >= extra]
    if stretched:
        gradient = gradient.sum(stretched, keepdims=True)
    return gradient.sum(leading, keepdims=False) if leading else gradient


def _repeated_axes(full: tuple[Dim, ...] | None, small: tuple[Dim, ...] | None) -> list[int] | None:
    """The axes of `full` that `small` lacks or has at size 1; None where that is not known."""
    if full is None or small is None:
        return None
    extra = len(full) - len(small)
    axes = list(range(extra))
    for axis, (wide, narrow) in enumerate(zip(full[extra:], small, strict=True), start=extra):
        if narrow == 1:
            if wide != 1:
                axes.append(axis)
        elif not isinstance(narrow, int) and (narrow is None or wide != narrow):
            return None
    return axes


def _sum_when_run(gradient: Tensor, like: Tensor) -> Tensor:
    """The same where shapes are unknown: compare the two shapes, padded with ones in front."""
    builder = gradient.builder
    full, small = gradient.shape(), like.shape()
    missing = full.shape() - small.shape()
    ones = builder.op("Expand", builder.constant(np.ones(1, np.int64)), missing)
    padded = builder.op("Concat", ones, small, axis=0)
    differs = full.equals(padded).op("Not")
    axes = differs.op("NonZero").reshape([-1])
    summed = builder.op("ReduceSum", gradient, axes, keepdims=1, noop_with_empty_axes=1)
    return summed.reshape(small)
