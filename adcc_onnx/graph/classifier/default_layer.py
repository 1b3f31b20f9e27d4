"""Choose the layer that is explained if the user names none."""

from __future__ import annotations

import math
from typing import NamedTuple

import onnx_ir as ir

from adcc_onnx.errors import LayerShapeError
from adcc_onnx.graph.autodiff.builder import QUANTIZED, Dim, dims_of
from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.attentions import attention_operands
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layer_lookup import INPUT_LAYER
from adcc_onnx.graph.classifier.layers import Layer, make_layer
from adcc_onnx.graph.classifier.layouts import (
    MAP_LAYOUTS,
    TOKEN_LAYOUTS,
    certain_layouts,
    infer_layouts,
)

# Operators that only select or reorder numbers.
_MOVES = {"Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}
# Operators that exporters write for a linear layer.
_PROJECTION = {"Add", "BatchNormalization", "Flatten", "Gemm", "MatMul", *_MOVES}

# Operators that take single tokens.
_SELECTIONS = {"Gather", "Slice", "Split"}

# Operators that sum over channels with weights.
_MIX_CHANNELS = {"Conv", "Einsum", "Gemm", "MatMul"}

_CHANGE = "(--layer NAME chooses another)"


class DefaultLayer(NamedTuple):
    """The default layer, and why it was chosen.

    Attributes:
        layer: The layer.
        reason: The reason for choosing it, in a few words; says so if it is a guess.
        guess: Whether another layer may be the right one.
    """

    layer: Layer
    reason: str
    guess: bool


def default_layer(classifier: Classifier) -> Layer:
    """Return the default layer; see `choose_default`."""
    return choose_default(classifier).layer


def choose_default(classifier: Classifier) -> DefaultLayer:
    """Choose the default layer: the last feature map, or the tokens of the last block.

    A feature map whose channels are the classes (SqueezeNet) is replaced by the input of the
    convolution that computes it: on class maps all gradient methods coincide.

    Without any feature map (a perceptron on pixels) the layer is the image itself.

    Raises:
        LayerShapeError: The model leaves the image size open.
    """
    layouts = infer_layouts(classifier)
    pooled = _pooled_values(classifier, layouts)
    if not pooled:
        # Methods that differentiate or mask pixels need no more; a CAM there is one of the image.
        image = make_layer(classifier, classifier.image, INPUT_LAYER, layouts)
        reason = f"the image itself; a guess, because the scores depend on no feature map {_CHANGE}"
        return DefaultLayer(image, reason, True)
    value = _as_feature_map(pooled[-1], layouts)
    reason = "the last feature map before pooling or flattening"
    if layouts[value] in TOKEN_LAYOUTS:
        entering = _last_attention_input(classifier, value, layouts)
        reason = "the tokens that enter the last attention"
        if entering is None:
            reason = "the last tokens before pooling"
        value = entering or value
    elif _are_class_maps(classifier, value, layouts[value]):
        value = _input_of_class_maps(value)
        reason = "the last feature map before the one whose channels are the classes"
    layer = make_layer(classifier, value, value.name or "", layouts)
    doubt = _doubt(classifier, layer, pooled)
    if doubt:
        reason = f"{reason}; a guess, because {doubt} {_CHANGE}"
    return DefaultLayer(layer, reason, bool(doubt))


def _doubt(classifier: Classifier, layer: Layer, pooled: list[ir.Value]) -> str:
    """Say why another layer may be the right one; empty if the choice is certain."""
    behind = _upstream_values(pooled[-1], set(classifier.forward_nodes()))
    if not all(value in behind for value in pooled):
        return f"{len(pooled)} branches are pooled and joined"
    if layer.value not in certain_layouts(classifier):
        return "the order of its axes is assumed from its shape"
    if layer.value is pooled[-1] and all(n.op_type in _SELECTIONS for n in layer.value.consumers()):
        return "the scores take only its class token"
    return ""


def _pooled_values(classifier: Classifier, layouts: dict[ir.Value, str]) -> list[ir.Value]:
    """Walk back from the logits to the last values with more than one position.

    Returns:
        The values in the order of the graph. There are several if the scores join branches, and
        none if the scores depend on no feature map.
    """
    order = {node: place for place, node in enumerate(classifier.forward_nodes())}
    pending, visited = [classifier.logits], {classifier.logits}
    found: list[ir.Value] = []
    while pending:
        value = pending.pop()
        node = value.producer()
        if value in layouts and _is_spatial(classifier, value, layouts):
            found.append(value)
        elif node in order:
            inputs = {v for v in node.inputs if v is not None} - visited
            visited |= inputs
            pending.extend(inputs)
    place = {value: order[node] for value in found if (node := value.producer()) in order}
    return sorted(place, key=place.__getitem__)


def _is_spatial(classifier: Classifier, value: ir.Value, layouts: dict[ir.Value, str]) -> bool:
    """Whether a value holds floating-point numbers at more than one position."""
    try:
        grid = make_layer(classifier, value, value.name or "", layouts).grid
    except LayerShapeError:
        return False
    return value.dtype not in QUANTIZED and math.prod(grid) > 1


def _as_feature_map(value: ir.Value, layouts: dict[ir.Value, str]) -> ir.Value:
    """Return the feature map that tokens are a mere reshape of; other values as they are."""
    current: ir.Value | None = value
    while current is not None:
        if layouts.get(current) in MAP_LAYOUTS:
            return current
        node = current.producer()
        moves = node is not None and node.op_type in ("Reshape", "Transpose", "Flatten", "Squeeze")
        current = node.inputs[0] if node is not None and moves else None
    return value


def _are_class_maps(classifier: Classifier, value: ir.Value, layout: str) -> bool:
    """Whether the channels of a feature map are the classes: nothing behind it mixes them."""
    if classifier.classes != _channels(value, layout):
        return False
    behind = path_nodes([classifier.logits], [value])
    return not any(node.op_type in _MIX_CHANNELS for node in behind)


def _channels(value: ir.Value, layout: str) -> Dim:
    return (dims_of(value) or ())[layout.index("C")]


def _input_of_class_maps(value: ir.Value) -> ir.Value:
    """Return the input of the convolution that computes the class maps."""
    node = value.producer()
    while node is not None and node.op_type != "Conv":
        first = node.inputs[0] if node.inputs else None
        node = None if first is None else first.producer()
    source = value if node is None else node.inputs[0]
    return value if source is None or source.is_graph_input() else source


def _last_attention_input(
    classifier: Classifier, tokens: ir.Value, layouts: dict[ir.Value, str]
) -> ir.Value | None:
    """Return the tokens from which the last attention computes its queries, keys and values.

    An attention with learned queries, as it pools tokens, counts only if there is no other.
    """
    nodes = classifier.forward_nodes()
    attentions = [o for o in map(attention_operands, reversed(nodes)) if o is not None]
    if not attentions:
        return None
    sources = ([_upstream_values(v, set(nodes)) for v in operands] for operands in attentions)
    first: list[set[ir.Value]] = []
    common: set[ir.Value] = set()
    for found in sources:
        first = first or found
        if all(classifier.image in values for values in found):
            common = set.intersection(*found)
            break
    else:
        usable = [values for values in first if classifier.image in values]
        common = set.intersection(*usable) if usable else common
    for value in (value for node in reversed(nodes) for value in node.outputs):
        if value in common and layouts.get(value) in TOKEN_LAYOUTS:
            if not _is_spatial(classifier, value, layouts):
                continue
            value = _before_moves(value, layouts)
            same = _channels(value, layouts[value]) == _channels(tokens, layouts[tokens])
            return value if same else _before_projection(value, layouts)
    return None


def _before_moves(value: ir.Value, layouts: dict[ir.Value, str]) -> ir.Value:
    """Return the tokens that a value is a part of, or the same tokens in another order of axes."""
    while (node := value.producer()) is not None and node.op_type in _MOVES:
        source = node.inputs[0]
        if source is None or layouts.get(source) not in TOKEN_LAYOUTS:
            break
        value = source
    return value


def _before_projection(value: ir.Value, layouts: dict[ir.Value, str]) -> ir.Value:
    """Return the tokens that a linear layer takes; other values as they are.

    A bias or a batch normalization of the rows of all tokens may follow the matrix product.
    """
    current, projected = value, False
    while (node := current.producer()) is not None and node.op_type in _PROJECTION:
        computed = [v for v in node.inputs if v is not None and not v.is_initializer()]
        if node.op_type not in _MOVES and len(computed) != 1:
            break
        current = computed[0]
        projected = projected or node.op_type in ("MatMul", "Gemm")
        if projected and layouts.get(current) in TOKEN_LAYOUTS:
            return current
    return value


def _upstream_values(value: ir.Value, nodes: set[ir.Node]) -> set[ir.Value]:
    """Return a value and all values that the given nodes compute it from."""
    visited, pending = {value}, [value]
    while pending:
        node = pending.pop().producer()
        if node in nodes:
            inputs = {v for v in node.inputs if v is not None} - visited
            visited |= inputs
            pending.extend(inputs)
    return visited
