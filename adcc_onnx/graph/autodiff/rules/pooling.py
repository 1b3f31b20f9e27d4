"""Gradient rules of pooling: a maximum passes its gradient to one pixel, a mean to its window."""

from __future__ import annotations

import math

import numpy as np

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.positions import scatter_add
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp
from adcc_onnx.graph.autodiff.rules.windows import (
    output_sizes,
    spatial_sizes,
    valid_counts,
    window_of,
)


def max_pool(g: Tensor, n: Call) -> Tensor:
    """MaxPool: g goes to the first maximum of each window, as in PyTorch.

    A second MaxPool returns the positions of the maxima, because a MaxPool without that output is
    much faster in the forward pass.
    """
    window = window_of(n, tuple(n.attribute("kernel_shape")))
    _, positions = n.builder.op_outputs(
        "MaxPool",
        n.x,
        count=2,
        ceil_mode=n.attribute("ceil_mode", 0),
        **window.attributes(),
    )
    return scatter_add(n.x, positions, g)


def average_pool(g: Tensor, n: Call) -> Tensor:
    """AveragePool: each output passes g / count to every pixel of its window."""
    kernel = tuple(n.attribute("kernel_shape"))
    window = window_of(n, kernel)
    rank = len(kernel)
    sizes, outputs = spatial_sizes(n, rank), output_sizes(n, rank)
    counts = valid_counts(sizes, outputs, window, bool(n.attribute("count_include_pad", 0)))
    if math.prod(outputs) == 1 and sizes == kernel and not any(window.pads):
        return (g / float(counts.item())).op("Expand", n.x.shape())
    share = g / n.builder.constant(counts, g.dtype)
    # Channels become images, [N, C, *out] -> [N C, 1, *out], so that a single kernel serves all.
    flat = share.reshape([-1, 1, *outputs])
    covered = [
        (output - 1) * stride + extent
        for output, stride, extent in zip(outputs, window.strides, window.extent, strict=True)
    ]
    ones = n.builder.constant(np.ones((1, 1, *kernel)), g.dtype)
    spread = flat.op("ConvTranspose", ones, strides=window.strides, dilations=window.dilations)
    # From the padded image to the image: remove the padding, add the pixels outside all windows.
    ends = [
        size + begin - length
        for size, begin, length in zip(sizes, window.begin, covered, strict=True)
    ]
    pads = [0, 0, *(-begin for begin in window.begin), 0, 0, *ends]
    return spread.op("Pad", n.builder.ints(pads)).reshape(n.x.shape())


def global_average_pool(g: Tensor, n: Call) -> Tensor:
    """GlobalAveragePool: each pixel of a channel receives g / (number of pixels)."""
    dims = n.dims(0)
    space = None if dims is None else [d for d in dims[2:] if isinstance(d, int)]
    if dims is not None and space is not None and len(space) == len(dims) - 2:
        # One Mul broadcasts and divides, in half the time of a Div and an Expand.
        share = np.full((1, 1, *space), 1.0 / math.prod(space))
        return g * n.builder.constant(share, g.dtype)
    count = n.x.op("Shape", start=2).op("ReduceProd", keepdims=0).cast(g.dtype)
    return (g / count).op("Expand", n.x.shape())


def global_max_pool(g: Tensor, n: Call) -> Tensor:
    """GlobalMaxPool: g goes to the first maximum of each channel."""
    builder = n.builder
    flat = n.x.reshape([0, 0, -1])
    position = flat.op("ArgMax", axis=2, keepdims=1)
    zeros = builder.zeros(flat.shape(), g.dtype)
    scattered = builder.op("ScatterElements", zeros, position, g.reshape([0, 0, 1]), axis=2)
    return scattered.reshape(n.x.shape())


vjp("MaxPool", max_pool)
vjp("AveragePool", average_pool)
vjp("GlobalAveragePool", global_average_pool)
vjp("GlobalMaxPool", global_max_pool)
