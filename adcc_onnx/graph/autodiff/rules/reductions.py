"""Reductions: the gradient of the reduced value is spread over what was reduced."""

from __future__ import annotations

import math

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def reduced_axes(n: Call) -> list[int] | None:
    """The axes reduced over, None for all of them, [] for none."""
    axes = n.static_ints(1, "axes")
    if axes:
        return axes
    return [] if n.attribute("noop_with_empty_axes", 0) else None


def kept(value: Tensor, n: Call) -> Tensor:
    """A tensor of the output's shape with the reduced axes kept at size 1."""
    if n.attribute("keepdims", 1):
        return value
    axes = reduced_axes(n)
    if axes is None:
        return value.reshape([1] * n.rank())
    return value.op("Unsqueeze", n.builder.ints(axes)) if axes else value


def spread(g: Tensor, n: Call) -> Tensor:
    """The gradient of a sum: g at every place that was summed"""
    return kept(g, n).op("Expand", n.x.shape())


def reduce_mean(g: Tensor, n: Call) -> Tensor:
    axes, dims = reduced_axes(n), n.dims(0)
    if dims is not None:
        sizes = [dims[axis] for axis in (range(len(dims)) if axes is None else axes)]
        fixed = [size for size in sizes if isinstance(size, int)]
        if len(fixed) == len(sizes):
            return spread(g / float(math.prod(fixed)), n)
    count = n.x.op("Size").cast(g.dtype) / n.y.op("Size").cast(g.dtype)
    return spread(g / count, n)


def reduce_extreme(g: Tensor, n: Call) -> Tensor:
    """Max and Min: equal parts to all that tie, as torch.amax"""
    wins = n.x.equals(kept(n.y, n)).cast(g.dtype)
    axes = reduced_axes(n)
    count = wins.op("ReduceSum", None if axes is None else n.builder.ints(axes), keepdims=1)
    return wins * (kept(g, n) / count)


def reduce_product(g: Tensor, n: Call) -> Tensor:
    """The product of all the others, also where one of them is zero"""
    axes = reduced_axes(n)
    over = None if axes is None else n.builder.ints(axes)
    is_zero = n.x.equals(0.0)
    filled = is_zero.where(1.0, n.x)
    product = filled.op("ReduceProd", over, keepdims=1)
    zeros = is_zero.cast(g.dtype).op("ReduceSum", over, keepdims=1)
    at_zero = zeros.equals(1.0).where(product, 0.0)
    elsewhere = zeros.equals(0.0).where(product / filled, 0.0)
    return kept(g, n) * is_zero.where(at_zero, elsewhere)


def reduce_l2(g: Tensor, n: Call) -> Tensor:
    """x / |x|, 0 at the origin"""
    norm = kept(n.y, n)
    return (norm > 0.0).where(kept(g, n) * n.x / norm, 0.0)


vjp("ReduceSum", spread, None)
vjp("ReduceMean", reduce_mean, None)
vjp("ReduceMax", reduce_extreme, None)
vjp("ReduceMin", reduce_extreme, None)
vjp("ReduceProd", reduce_product, None)
vjp("ReduceL1", lambda g, n: kept(g, n) * n.x.op("Sign"), None)
vjp("ReduceL2", reduce_l2, None)
vjp("ReduceSumSquare", lambda g, n: kept(g, n) * 2.0 * n.x, None)
vjp("ReduceLogSum", lambda g, n: spread(g / n.y.op("Exp"), n), None)
vjp("ReduceLogSumExp", lambda g, n: kept(g, n) * (n.x - kept(n.y, n)).op("Exp"), None)
