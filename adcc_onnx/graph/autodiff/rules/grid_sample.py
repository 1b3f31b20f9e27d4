"""GridSample, written as the gathering of each point's neighbors."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from adcc_onnx.graph.autodiff.builder import FLOAT, INT64, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import decomposition

Axis = list[tuple[Tensor, Tensor]]  # (place, weight) of each neighbor along one axis


def grid_sample(n: Call) -> Tensor:
    """Y[n, c, i, j] = sum over neighbors of weight X[n, c, row, column].

    Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025, equation 3; the neighbors and weights
    of each mode as in the ONNX specification.
    """
    if n.rank() != 4:
        raise UnsupportedNodeError("only images of two dimensions are sampled")
    height, width = n.size(2), n.size(3)
    neighbors = _MODES.get(n.attribute("mode", "linear"))
    if neighbors is None:
        raise UnsupportedNodeError(f"its mode '{n.attribute('mode')}' is not known")
    aligned = bool(n.attribute("align_corners", 0))
    columns, rows = (
        neighbors(_point(_pick(n[1], k), size, aligned, n)) for k, size in ((0, width), (1, height))
    )
    flat = n[0].reshape([0, 0, -1])
    total: Tensor | None = None
    for (row, row_weight), (column, column_weight) in itertools.product(rows, columns):
        value = _gathered(flat, row, column, (height, width), n)
        term = value * (row_weight * column_weight).op("Unsqueeze", n.builder.ints(1))
        total = term if total is None else total + term
    assert total is not None
    return total


def _pick(grid: Tensor, index: int) -> Tensor:
    """x (0) or y (1) of a grid [N, h, w, 2], in [-1, 1]."""
    return grid.op("Gather", grid.builder.constant(index, INT64), axis=3)


def _point(place: Tensor, size: int, aligned: bool, n: Call) -> Tensor:
    """From [-1, 1] to pixels, moved into the image where the padding says so."""
    if aligned:
        pixel = (place + 1.0) * ((size - 1) / 2.0)
        low, high = 0.0, size - 1.0
    else:
        pixel = ((place + 1.0) * float(size) - 1.0) / 2.0
        low, high = -0.5, size - 0.5
    mode, constant = n.attribute("padding_mode", "zeros"), n.builder.constant
    if mode == "reflection":
        pixel = _reflected(pixel, low, high)
    if mode != "zeros" and n.attribute("mode", "linear") != "cubic":
        pixel = pixel.op("Clip", constant(0.0, FLOAT), constant(size - 1.0, FLOAT))
    if mode == "reflection" and n.attribute("mode") == "cubic":
        raise UnsupportedNodeError("cubic sampling with reflection has no rule")
    return pixel


def _reflected(pixel: Tensor, low: float, high: float) -> Tensor:
    """A triangle wave between the borders."""
    span = high - low
    if span == 0:
        return pixel * 0.0
    turns = (pixel - low) / (2.0 * span)
    whole = (turns + 0.5).op("Floor")
    return (turns - whole).op("Abs") * (2.0 * span) + low


def _nearest(pixel: Tensor) -> Axis:
    return [(pixel.op("Round"), pixel * 0.0 + 1.0)]


def _linear(pixel: Tensor) -> Axis:
    first = pixel.op("Floor")
    part = pixel - first
    return [(first, 1.0 - part), (first + 1.0, part)]


def _cubic(pixel: Tensor) -> Axis:
    """Keys 1981 with a = -0.75"""
    a, first = -0.75, pixel.op("Floor")
    t = pixel - first

    def inner(d: Tensor) -> Tensor:
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0

    def outer(d: Tensor) -> Tensor:
        return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a

    return [
        (first - 1.0, outer(t + 1.0)),
        (first, inner(t)),
        (first + 1.0, inner(1.0 - t)),
        (first + 2.0, outer(2.0 - t)),
    ]


def _gathered(flat: Tensor, row: Tensor, column: Tensor, size: tuple[int, int], n: Call) -> Tensor:
    """X at whole places, [N, C, h, w]; 0 outside unless the padding repeats the border."""
    height, width = size
    builder, constant = n.builder, n.builder.constant
    inside_row, inside_column = (
        place.op("Clip", constant(0.0, FLOAT), constant(size - 1.0, FLOAT))
        for place, size in ((row, height), (column, width))
    )
    place = (inside_row * float(width) + inside_column).cast(INT64)
    ones = builder.op("Concat", flat.op("Shape", end=2), builder.ints(1), axis=0)
    picked = place.reshape([0, 1, -1]).op("Expand", ones)
    output = builder.op("Concat", flat.op("Shape", end=2), place.op("Shape", start=1), axis=0)
    values = flat.op("GatherElements", picked, axis=2).reshape(output)
    if n.attribute("padding_mode", "zeros") != "zeros":
        return values
    inside = row.equals(inside_row) & column.equals(inside_column)
    return values * inside.cast(FLOAT).op("Unsqueeze", builder.ints(1))


_MODES: dict[str, Callable[[Tensor], Axis]] = {
    "linear": _linear,
    "bilinear": _linear,
    "nearest": _nearest,
    "cubic": _cubic,
    "bicubic": _cubic,
}

decomposition("GridSample", grid_sample)
