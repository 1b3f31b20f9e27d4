"""Gradient rules of reductions: the gradient of a reduced value is broadcast to its elements."""

from __future__ import annotations

import math

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def _reduced_axes(n: Call) -> list[int] | None:
    """The axes reduced over; None for all of them, [] for none."""
    axes = n.constant_ints(1, "axes")
    if axes:
        return axes
    return [] if n.attribute("noop_with_empty_axes", 0) else None


def _restore_axes(value: Tensor, n: Call) -> Tensor:
    """A tensor of the shape of the output, with the reduced axes restored with size 1."""
    if n.attribute("keepdims", 1):
        return value
    axes = _reduced_axes(n)
    if axes is None:
        return value.reshape([1] * n.rank())
    return value.op("Unsqueeze", n.builder.ints(axes)) if axes else value


def expand(g: Tensor, n: Call) -> Tensor:
    """ReduceSum: dx = g at every element that was summed."""
    return _restore_axes(g, n).op("Expand", n.x.shape())


def reduce_mean(g: Tensor, n: Call) -> Tensor:
    """ReduceMean: dx = g / (number of reduced elements)."""
    axes, dims = _reduced_axes(n), n.dims(0)
    if dims is not None:
        sizes = [dims[axis] for axis in (range(len(dims)) if axes is None else axes)]
        fixed = [size for size in sizes if isinstance(size, int)]
        if len(fixed) == len(sizes):
            return expand(g / float(math.prod(fixed)), n)
    count = n.x.op("Size").cast(g.dtype) / n.y.op("Size").cast(g.dtype)
    return expand(g / count, n)


def reduce_extreme(g: Tensor, n: Call) -> Tensor:
    """ReduceMax and ReduceMin: g is divided equally among ties, as in torch.amax."""
    is_extremum = n.x.equals(_restore_axes(n.y, n)).cast(g.dtype)
    axes = _reduced_axes(n)
    count = is_extremum.op("ReduceSum", None if axes is None else n.builder.ints(axes), keepdims=1)
    return is_extremum * (_restore_axes(g, n) / count)


def reduce_product(g: Tensor, n: Call) -> Tensor:
    """ReduceProd: dx = g times the product of the other elements, even if one of them is 0."""
    axes = _reduced_axes(n)
    axes_input = None if axes is None else n.builder.ints(axes)
    is_zero = n.x.equals(0.0)
    nonzero = is_zero.where(1.0, n.x)
    product = nonzero.op("ReduceProd", axes_input, keepdims=1)
    zeros = is_zero.cast(g.dtype).op("ReduceSum", axes_input, keepdims=1)
    at_zero = zeros.equals(1.0).where(product, 0.0)
    elsewhere = zeros.equals(0.0).where(product / nonzero, 0.0)
    return _restore_axes(g, n) * is_zero.where(at_zero, elsewhere)


def reduce_l2(g: Tensor, n: Call) -> Tensor:
    """ReduceL2: dx = g x / |x|, 0 at the origin."""
    norm = _restore_axes(n.y, n)
    return (norm > 0.0).where(_restore_axes(g, n) * n.x / norm, 0.0)


vjp("ReduceSum", expand, None)
vjp("ReduceMean", reduce_mean, None)
vjp("ReduceMax", reduce_extreme, None)
vjp("ReduceMin", reduce_extreme, None)
vjp("ReduceProd", reduce_product, None)
vjp("ReduceL1", lambda g, n: _restore_axes(g, n) * n.x.sign(), None)
vjp("ReduceL2", reduce_l2, None)
vjp("ReduceSumSquare", lambda g, n: _restore_axes(g, n) * 2.0 * n.x, None)
vjp("ReduceLogSum", lambda g, n: expand(g / n.y.op("Exp"), n), None)
vjp(
    "ReduceLogSumExp",
    lambda g, n: _restore_axes(g, n) * (n.x - _restore_axes(n.y, n)).op("Exp"),
    None,
)
