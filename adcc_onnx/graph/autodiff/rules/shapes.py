"""Gradient rules of operators that rearrange elements: the gradient is rearranged back."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import numpy as np

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.positions import element_positions, scatter_add
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def reshape_back(g: Tensor, n: Call) -> Tensor:
    """Reshape and its like: dx = g in the shape of x."""
    dims = n.dims(0)
    if dims is None or 0 in dims or sum(not isinstance(size, int) for size in dims) > 1:
        return g.reshape(n.x.shape())
    return g.reshape([size if isinstance(size, int) else -1 for size in dims])


def transpose(g: Tensor, n: Call) -> Tensor:
    """Transpose: dx = g with the axes permuted back."""
    perm = n.attribute("perm") or list(range(n.rank()))[::-1]
    return g.transpose([int(axis) for axis in np.argsort(perm)])


def concat(g: Tensor, n: Call, index: int) -> Tensor:
    """Concat: dx = the slice of g at the position of this input."""
    axis, ints = n.axis(0), n.builder.ints
    lengths = [None if (d := n.dims(i)) is None else d[axis] for i in range(index + 1)]
    fixed = [length for length in lengths if isinstance(length, int)]
    if len(fixed) == len(lengths):
        end = sum(fixed)
        return g.op("Slice", ints(end - fixed[-1]), ints(end), ints(axis))
    sizes = [n[i].op("Shape", start=axis, end=axis + 1) for i in range(index + 1)]
    start = functools.reduce(operator.add, sizes[:-1], ints(0))
    return g.op("Slice", start, start + sizes[-1], ints(axis))


def split(g: Tensor, n: Call) -> Tensor:
    """Split: dx = the concatenated gradients of the outputs, zeros for unused outputs."""
    parts = [
        n.builder.zeros(n.output(i).shape(), g.dtype) if part is None else part
        for i, part in enumerate(n.gradients)
    ]
    return n.builder.op("Concat", *parts, axis=n.attribute("axis", 0))


def pad_axis(g: Tensor, rank: int, begins: dict[int, int], ends: dict[int, int]) -> Tensor:
    """Pad some axes with zeros; negative numbers crop.

    Args:
        g: Tensor to pad.
        rank: Rank of the tensor.
        begins: Number of zeros before the elements, by axis.
        ends: Number of zeros after the elements, by axis.

    Returns:
        The padded tensor.
    """
    pads = [begins.get(a, 0) for a in range(rank)] + [ends.get(a, 0) for a in range(rank)]
    return g.op("Pad", g.builder.ints(pads))


def slice_back(g: Tensor, n: Call) -> Tensor:
    """Slice: zeros around g, or a scatter-add if the slice has steps or unknown bounds."""
    bounds = _fixed_bounds(n)
    if bounds is None:
        inputs = [n[i] if n.has(i) else None for i in range(1, len(n))]
        return scatter_add(n.x, element_positions(n.x).op("Slice", *inputs), g)
    begins = {axis: start for axis, (start, _) in bounds.items()}
    ends = {axis: n.size(axis) - end for axis, (_, end) in bounds.items()}
    return pad_axis(g, n.rank(), begins, ends)


def _fixed_bounds(n: Call) -> dict[int, tuple[int, int]] | None:
    """The (start, end) by axis of a slice of step 1 with known bounds; None for other slices."""
    constants = [
        None if not n.has(i) or n[i].value.const_value is None else n.constant_value(i).reshape(-1)
        for i in range(1, 5)
    ]
    starts, ends, axes, steps = constants
    dims = n.dims(0)
    if starts is None or ends is None or dims is None or (n.has(3) and axes is None):
        return None
    if n.has(4) and (steps is None or np.any(steps != 1)):
        return None
    bounds = {}
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = int(axes[i]) % len(dims) if axes is not None else i
        size = dims[axis]
        if not isinstance(size, int):
            return None
        first, last, _ = slice(int(start), int(end)).indices(size)
        bounds[axis] = (first, max(first, last))
    return bounds


def pad_back(g: Tensor, n: Call) -> Tensor:
    """Pad: crops g; modes that copy pixels scatter-add the gradients of the copies."""
    axes = n[3] if n.has(3) else None
    if n.attribute("mode", "constant") == "constant":
        return g.op("Pad", n[1].op("Neg"), None, axes)
    positions = element_positions(n.x).op("Pad", n[1], None, axes, mode=n.attribute("mode"))
    return scatter_add(n.x, positions, g)


def tile_back(g: Tensor, n: Call) -> Tensor:
    """Tile: a scatter-add of the gradients of the copies."""
    return scatter_add(n.x, element_positions(n.x).op("Tile", n[1]), g)


def depth_to_space_back(g: Tensor, n: Call) -> Tensor:
    """DepthToSpace: SpaceToDepth of g, or its equivalent for the mode CRD."""
    block = int(n.attribute("blocksize"))
    if n.attribute("mode", "DCR") == "DCR":
        return g.op("SpaceToDepth", blocksize=block)
    channels, height, width = (n.size(axis) for axis in (1, 2, 3))
    blocks: Sequence[int] = (0, channels // block**2, height, block, width, block)
    return reshape_back(g.reshape(blocks).transpose([0, 1, 3, 5, 2, 4]), n)


def cumulative_sum(g: Tensor, n: Call) -> Tensor:
    """CumSum: the cumulative sum of g in the opposite direction."""
    return g.op(
        "CumSum",
        n[1],
        exclusive=n.attribute("exclusive", 0),
        reverse=1 - n.attribute("reverse", 0),
    )


def triangle(g: Tensor, n: Call) -> Tensor:
    """Trilu: the same triangle of g."""
    return g.op("Trilu", n[1] if n.has(1) else None, upper=n.attribute("upper", 1))


for same_elements in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
    vjp(same_elements, reshape_back, None)
vjp("Transpose", transpose)
vjp("Expand", lambda g, n: g, None, broadcasts=True)
vjp("Concat", variadic=concat)
vjp("Split", split, None, outputs=None)
vjp("Slice", slice_back)
vjp("Pad", pad_back)
vjp("Tile", tile_back, None)
vjp("DepthToSpace", depth_to_space_back)
vjp("SpaceToDepth", lambda g, n: g.op("DepthToSpace", blocksize=int(n.attribute("blocksize"))))
vjp("CumSum", cumulative_sum, None)
vjp("Trilu", triangle, None)
