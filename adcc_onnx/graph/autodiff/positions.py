"""The gradient of operators that select elements: a scatter-add to the selected positions.

Such an operator is applied to the positions 0, 1, 2, ... of its input instead of the values. The
result states which input element each output element is, so the output's gradient can be added
there.
"""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import INT64, Tensor


def element_positions(x: Tensor) -> Tensor:
    """Return the position of each element of x in row-major order.

    Args:
        x: Tensor of any shape.

    Returns:
        An int64 tensor of the shape of x with the values 0, 1, 2, ...
    """
    builder = x.builder
    # Range accepts scalars only.
    start, step = builder.constant(0, INT64), builder.constant(1, INT64)
    return builder.op("Range", start, x.op("Size"), step).reshape(x.shape())


def scatter_add(x: Tensor, positions: Tensor, g: Tensor) -> Tensor:
    """Add each element of g at its position in a tensor of zeros.

    Args:
        x: Tensor of the result's shape.
        positions: Row-major position in x of each element of g, of the shape of g.
        g: Elements to add.

    Returns:
        A tensor of the shape of x.
    """
    builder = x.builder
    # The shape of the flat tensor, not its Size as a vector: the latter runs on the CPU everywhere.
    zeros = builder.zeros(x.reshape([-1]).shape(), g.dtype)
    flat = builder.op(
        "ScatterElements", zeros, positions.reshape([-1]), g.reshape([-1]), axis=0, reduction="add"
    )
    return flat.reshape(x.shape())
