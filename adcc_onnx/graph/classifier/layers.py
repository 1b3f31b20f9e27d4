"""Explainable layers: tensors of the graph that can be turned into a map of height by width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from adcc_onnx.errors import LayerShapeError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.attentions import find_self_attentions, read_self_attention
from adcc_onnx.graph.classifier.image_classifier import Classifier, values_by_name
from adcc_onnx.graph.classifier.image_input import own_name, replaced_input
from adcc_onnx.graph.classifier.layer_lookup import find_value
from adcc_onnx.graph.classifier.layouts import MAP_LAYOUTS, TOKEN_LAYOUTS, infer_layouts
from adcc_onnx.graph.classifier.token_readout import read_tokens
from adcc_onnx.graph.passes.dequantize import REWRITTEN

# An upper bound of the class and register tokens of published vision transformers.
MAX_PREFIX_TOKENS = 16


@dataclass(frozen=True)
class Layer:
    """One explainable layer.

    Attributes:
        name: The name that the user gave, or the name of the tensor.
        value: The tensor.
        kind: The kind of layer: "feature_map" (rank 4), "tokens" ([batch, tokens, channels]),
            "attention" ([batch, heads, query tokens, key tokens]), or "vector" ([batch, channels]),
            which can be compared but has no map.
        layout: The axes of the tensor: "NCHW" or "NHWC" for a feature map, "NTC" or "NCT" for
            tokens, "NCQT" for an attention, whose heads are its channels, "NC" for a vector.
        channels: The number of channels K.
        grid: The size (h, w) of the layer's map.
        prefix_tokens: The number of class and register tokens before the tokens of the grid; a
            map leaves them out.
        queries: The first query token of an attention that the scores read, and the one after the
            last; a map is the mean of these rows.
    """

    name: str
    value: ir.Value
    kind: str
    layout: str
    channels: int
    grid: tuple[int, int]
    prefix_tokens: int = 0
    queries: tuple[int, int] = (0, 0)

    @property
    def is_nchw_float32(self) -> bool:
        """Whether the tensor is float32 [batch, K, h, w] without any conversion."""
        return self.layout == "NCHW" and self.value.dtype == ir.DataType.FLOAT


def read_layer(classifier: Classifier, name: str) -> Layer:
    """Read the layer that a name refers to.

    Args:
        classifier: The classifier.
        name: The name of a tensor or a node, a module path, or "input" for the image.

    Raises:
        UnknownLayerError: The model has no layer of this name.
        LayerShapeError: The layer cannot be turned into a map of height by width.
    """
    value = find_value(classifier.model, name)
    if value is replaced_input(classifier.image):
        value = classifier.image
    return make_layer(classifier, value, name)


def explainable_layers(classifier: Classifier) -> list[Layer]:
    """List the layers between the image and the scores, in the order of the graph.

    Layers whose map would be a single pixel are left out, and so are values that are in no file of
    the user.
    """
    layouts = infer_layouts(classifier)
    attentions = {attention.probabilities for attention in find_self_attentions(classifier)}
    outputs = [value for node in classifier.forward_nodes() for value in node.outputs]
    layers = []
    for value in [classifier.image, *outputs]:
        if value not in layouts and value not in attentions:
            continue
        if (value.name or "").startswith(REWRITTEN):
            continue
        try:
            layer = make_layer(classifier, value, own_name(value), layouts)
        except LayerShapeError:
            continue
        if math.prod(layer.grid) > 1:
            layers.append(layer)
    return layers


def make_layer(
    classifier: Classifier, value: ir.Value, name: str, layouts: dict[ir.Value, str] | None = None
) -> Layer:
    """Describe a tensor as a layer: its kind, its layout and its grid.

    Args:
        classifier: The classifier that the tensor belongs to.
        value: The tensor.
        name: The name of the layer.
        layouts: The result of `infer_layouts`, if it is at hand.

    Raises:
        LayerShapeError: The tensor cannot be turned into a map of height by width.
    """
    dims = dims_of(value) or ()
    fixed = all(isinstance(size, int) for size in dims[1:])
    layouts = infer_layouts(classifier) if layouts is None else layouts
    attention = read_self_attention(classifier, value)
    if attention is not None:
        prefix_tokens, grid = token_grid(classifier, attention.tokens, name)
        queries = read_tokens(classifier, attention.tokens, layouts)
        return Layer(
            name, value, "attention", "NCQT", attention.heads, grid, prefix_tokens, queries
        )
    # Behind a custom operator the meaning of the axes is unknown: assume the usual one.
    layout = layouts.get(value) or {3: "NTC", 4: "NCHW"}.get(len(dims))
    if fixed and layout in MAP_LAYOUTS:
        channels, height, width = (int(dims[layout.index(axis)] or 0) for axis in "CHW")
        return Layer(name, value, "feature_map", layout, channels, (height, width))
    if fixed and layout in TOKEN_LAYOUTS:
        channels, tokens = (int(dims[layout.index(axis)] or 0) for axis in "CT")
        prefix_tokens, grid = token_grid(classifier, tokens, name)
        return Layer(name, value, "tokens", layout, channels, grid, prefix_tokens)
    shape = f"shape [{', '.join(str(size or '?') for size in dims)}]" if dims else "unknown shape"
    raise LayerShapeError(
        f"layer '{name}' has {shape}, but a map needs [batch, channels, height, width] or "
        "[batch, tokens, channels] with fixed sizes, or an attention over all tokens; if the "
        "model leaves the image size open, give --size HxW"
    )


def layers_on(model: ir.Model, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return layers on another graph.

    Args:
        model: A graph with the same tensor names.
        layers: The layers.
    """
    values = values_by_name(model)
    return tuple(replace(layer, value=values[layer.value.name]) for layer in layers)


def vector_layer(value: ir.Value, name: str) -> Layer | None:
    """Describe a tensor [batch, channels] as a layer with a grid of one pixel.

    Args:
        value: The tensor.
        name: The name of the layer.

    Returns:
        The layer; None if the number of channels is not fixed.
    """
    channels = (dims_of(value) or (None,))[-1]
    if not isinstance(channels, int):
        return None
    return Layer(name, value, "vector", "NC", channels, (1, 1))


def token_grid(classifier: Classifier, tokens: int, name: str) -> tuple[int, tuple[int, int]]:
    """Return the number of prefix tokens and the grid (h, w) of the others.

    The grid is that of a convolution that fits with the fewest prefix tokens, as of the patch
    embedding, and the largest possible square otherwise.

    Args:
        classifier: The classifier.
        tokens: The number of all tokens.
        name: The name of their layer, for messages.

    Raises:
        LayerShapeError: The tokens cannot be arranged in a grid.
    """
    fitting = [
        (prefix_tokens, grid)
        for grid in _convolution_grids(classifier)
        if 0 <= (prefix_tokens := tokens - math.prod(grid)) <= MAX_PREFIX_TOKENS
        and prefix_tokens < math.prod(grid)
    ]
    if fitting:
        return min(fitting, key=lambda found: found[0])
    side = math.isqrt(tokens)
    if tokens - side * side > MAX_PREFIX_TOKENS:
        raise LayerShapeError(
            f"the {tokens} tokens of layer '{name}' match neither the grid of a patch embedding "
            "nor a square"
        )
    return tokens - side * side, (side, side)


def _convolution_grids(classifier: Classifier) -> Iterator[tuple[int, int]]:
    """Yield the (height, width) of the output of every convolution, in the order of the graph."""
    for node in classifier.forward_nodes():
        dims = dims_of(node.outputs[0]) or ()
        if node.op_type == "Conv" and len(dims) == 4:
            height, width = dims[2:]
            if isinstance(height, int) and isinstance(width, int):
                yield height, width
