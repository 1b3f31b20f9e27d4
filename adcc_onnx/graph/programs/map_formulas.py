"""Formulas on maps, as nodes of a graph: layout conversion, normalization and upsampling."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.classifier.layers import Layer


def to_feature_map(tensor: Tensor, layer: Layer) -> Tensor:
    """Convert a tensor of a layer's shape to a feature map [batch, K, h, w].

    Of an attention [batch, heads, queries, keys], it is the mean of the rows of the query tokens
    that the scores read, usually that of the class token alone.

    Args:
        tensor: The activations or the gradient of the layer, in the layer's own layout.
        layer: The layer; its prefix tokens are dropped.
    """
    if layer.kind == "feature_map":
        return tensor if layer.layout == "NCHW" else tensor.transpose([0, 3, 1, 2])
    if layer.kind == "vector":
        return tensor.reshape([0, layer.channels, 1, 1])
    ints = tensor.builder.ints
    if layer.kind == "attention":
        start, stop = layer.queries
        rows = tensor.op("Slice", ints(start), ints(stop), ints(2))
        tensor = rows.mean([2], keepdims=False)
    first = layer.prefix_tokens
    last = first + layer.grid[0] * layer.grid[1]
    axis = 1 if layer.layout == "NTC" else 2
    patches = tensor.op("Slice", ints(first), ints(last), ints(axis)) if first else tensor
    if axis == 2:
        return patches.reshape([0, layer.channels, *layer.grid])
    return patches.reshape([0, *layer.grid, layer.channels]).transpose([0, 3, 1, 2])


def normalize_maps(maps: Tensor) -> Tensor:
    """Scale each map of [N, h, w] to [0, 1] by its minimum and maximum; constant maps become 0."""
    axes = maps.builder.ints([1, 2])
    low = maps.op("ReduceMin", axes, keepdims=1)
    spread = maps.op("ReduceMax", axes, keepdims=1) - low
    return (spread > 0.0).where((maps - low) / spread, 0.0)


def upsample_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample maps bilinearly, with half-pixel centers and without antialiasing.

    Args:
        maps: Maps or masks [N, h, w].
        size: The (height, width) of the result in pixels.

    Returns:
        The upsampled maps, [N, 1, H, W].
    """
    builder = maps.builder
    planes = maps.op("Unsqueeze", builder.ints(1))
    sizes = builder.op("Concat", maps.op("Shape", end=1), builder.ints([1, *size]), axis=0)
    resized = planes.op(
        "Resize",
        None,
        None,
        sizes,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    batch = None if maps.dims is None else maps.dims[0]
    resized.value.shape = ir.Shape([batch, 1, *size])
    return resized
