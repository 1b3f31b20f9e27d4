"""Decomposition of GridSample into a weighted sum of each point's neighbors."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from adcc_onnx.graph.autodiff.builder import FLOAT, INT64, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import decomposition

# (pixel index, weight) of each neighbor of the sampling points along one axis.
Neighbors = list[tuple[Tensor, Tensor]]


def grid_sample(n: Call) -> Tensor:
    """GridSample: y[n, c, i, j] = sum over neighbors of weight * x[n, c, row, column].

    Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025, equation 3. The neighbors and weights
    of each mode follow the ONNX specification.
    """
    if n.rank() != 4:
        raise UnsupportedNodeError("only inputs of rank 4, [N, C, H, W], are supported")
    height, width = n.size(2), n.size(3)
    neighbors = _MODES.get(n.attribute("mode", "linear"))
    if neighbors is None:
        raise UnsupportedNodeError(f"its mode '{n.attribute('mode')}' is not supported")
    aligned = bool(n.attribute("align_corners", 0))
    columns, rows = (
        neighbors(_pixel(_coordinate(n[1], k), size, aligned, n))
        for k, size in ((0, width), (1, height))
    )
    flat = n[0].reshape([0, 0, -1])
    total: Tensor | None = None
    for (row, row_weight), (column, column_weight) in itertools.product(rows, columns):
        value = _gather_pixels(flat, row, column, (height, width), n)
        term = value * (row_weight * column_weight).op("Unsqueeze", n.builder.ints(1))
        total = term if total is None else total + term
    assert total is not None
    return total


def _coordinate(grid: Tensor, index: int) -> Tensor:
    """The x (index 0) or y (index 1) coordinate of a grid [N, h, w, 2], in [-1, 1]."""
    return grid.op("Gather", grid.builder.constant(index, INT64), axis=3)


def _pixel(coordinate: Tensor, size: int, aligned: bool, n: Call) -> Tensor:
    """Convert coordinates in [-1, 1] to pixels, as the padding mode moves them into the image."""
    if aligned:
        pixel = (coordinate + 1.0) * ((size - 1) / 2.0)
        low, high = 0.0, size - 1.0
    else:
        pixel = ((coordinate + 1.0) * float(size) - 1.0) / 2.0
        low, high = -0.5, size - 0.5
    mode, constant = n.attribute("padding_mode", "zeros"), n.builder.constant
    if mode == "reflection":
        pixel = _reflect(pixel, low, high)
    if mode != "zeros" and n.attribute("mode", "linear") != "cubic":
        pixel = pixel.op("Clip", constant(0.0, FLOAT), constant(size - 1.0, FLOAT))
    if mode == "reflection" and n.attribute("mode") == "cubic":
        raise UnsupportedNodeError("cubic sampling with reflection padding is not supported")
    return pixel


def _reflect(pixel: Tensor, low: float, high: float) -> Tensor:
    """Reflect pixels at the borders: a triangle wave between low and high."""
    span = high - low
    if span == 0:
        return pixel * 0.0
    periods = (pixel - low) / (2.0 * span)
    nearest = (periods + 0.5).op("Floor")
    return (periods - nearest).op("Abs") * (2.0 * span) + low


def _nearest(pixel: Tensor) -> Neighbors:
    return [(pixel.op("Round"), pixel * 0.0 + 1.0)]


def _linear(pixel: Tensor) -> Neighbors:
    first = pixel.op("Floor")
    fraction = pixel - first
    return [(first, 1.0 - fraction), (first + 1.0, fraction)]


def _cubic(pixel: Tensor) -> Neighbors:
    """Keys 1981 with a = -0.75."""
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


def _gather_pixels(
    flat: Tensor, row: Tensor, column: Tensor, size: tuple[int, int], n: Call
) -> Tensor:
    """The pixels [N, C, h, w] of x; 0 outside the image unless the padding repeats the border."""
    height, width = size
    builder, constant = n.builder, n.builder.constant
    clipped_row, clipped_column = (
        index.op("Clip", constant(0.0, FLOAT), constant(size - 1.0, FLOAT))
        for index, size in ((row, height), (column, width))
    )
    position = (clipped_row * float(width) + clipped_column).cast(INT64)
    ones = builder.op("Concat", flat.op("Shape", end=2), builder.ints(1), axis=0)
    indices = position.reshape([0, 1, -1]).op("Expand", ones)
    shape = builder.op("Concat", flat.op("Shape", end=2), position.op("Shape", start=1), axis=0)
    values = flat.op("GatherElements", indices, axis=2).reshape(shape)
    if n.attribute("padding_mode", "zeros") != "zeros":
        return values
    in_image = row.equals(clipped_row) & column.equals(clipped_column)
    return values * in_image.cast(FLOAT).op("Unsqueeze", builder.ints(1))


_MODES: dict[str, Callable[[Tensor], Neighbors]] = {
    "linear": _linear,
    "bilinear": _linear,
    "nearest": _nearest,
    "cubic": _cubic,
    "bicubic": _cubic,
}

decomposition("GridSample", grid_sample)
