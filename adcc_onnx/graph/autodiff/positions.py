"""The transpose of every operator that only picks elements: scatter back to where they came from.

Run the operator on the positions 0, 1, 2, ... instead of the values, and it tells which element of
its input each element of its output is; the gradient of the output is added up there.
"""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import INT64, Tensor


def positions_of(x: Tensor) -> Tensor:
    """An int64 tensor of x's shape that holds each element's place in row-major order."""
    builder = x.builder
    # Scalars: Range takes rank 0 alone.
    start, step = builder.constant(0, INT64), builder.constant(1, INT64)
    return builder.op("Range", start, x.op("Size"), step).reshape(x.shape())


def scatter_to(x: Tensor, positions: Tensor, g: Tensor) -> Tensor:
    """A tensor of x's shape: each element of g added at its place; `positions` has g's shape."""
    builder = x.builder
    size = x.op("Size").reshape([1])
    zeros = builder.zeros(size, g.dtype)
    flat = builder.op(
        "ScatterElements", zeros, positions.reshape([-1]), g.reshape([-1]), axis=0, reduction="add"
    )
    return flat.reshape(x.shape())
