"""Choose the layer that is explained if the user names none."""

from __future__ import annotations

import math

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import QUANTIZED, Dim, dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer, make_layer
from adcc_onnx.graph.classifier.layouts import MAP_LAYOUTS, TOKEN_LAYOUTS, infer_layouts


def default_layer(classifier: Classifier) -> Layer:
    """Return the default layer; see `choose_default`."""
    return choose_default(classifier)[0]


def choose_default(classifier: Classifier) -> tuple[Layer, str]:
    """Choose the default layer: the last feature map, or the tokens of the last block.

    A feature map whose channels are the classes (SqueezeNet) is replaced by the input of the
    convolution that computes it: on class maps all gradient methods coincide.

    Returns:
        The layer, and the reason for choosing it, in a few words.

    Raises:
        ModelError: The scores depend on no feature map.
    """
    layouts = infer_layouts(classifier)
    value = _as_feature_map(_last_spatial_value(classifier, layouts), layouts)
    reason = "the last feature map before pooling or flattening"
    if layouts[value] in TOKEN_LAYOUTS:
        entering = _last_attention_input(classifier, value)
        reason = "the tokens that enter the last attention"
        if entering is None:
            reason = "the last tokens before pooling"
        value = entering or value
    elif classifier.classes == _channels(value, layouts[value]):
        value = _input_of_class_maps(value)
        reason = "the last feature map before the one whose channels are the classes"
    return make_layer(classifier, value, value.name or "", layouts), reason


def _last_spatial_value(classifier: Classifier, layouts: dict[ir.Value, str]) -> ir.Value:
    """Walk back from the logits to the last value with more than one position."""
    order = {node: place for place, node in enumerate(classifier.forward_nodes())}
    pending, visited = [classifier.logits], {classifier.logits}
    found: list[ir.Value] = []
    while pending:
        value = pending.pop()
        node = value.producer()
        if value in layouts and _is_spatial(value, layouts[value]):
            found.append(value)
        elif node in order:
            inputs = {v for v in node.inputs if v is not None} - visited
            visited |= inputs
            pending.extend(inputs)
    place = {value: order[node] for value in found if (node := value.producer()) in order}
    if not place:
        raise ModelError(
            "the class scores depend on no feature map; choose a layer with --layer "
            "(`adcc-onnx inspect` lists them)"
            if classifier.size
            else "the model does not fix the image size, so there is no default layer; give "
            "--size HxW"
        )
    return max(place, key=place.__getitem__)


def _is_spatial(value: ir.Value, layout: str) -> bool:
    """Whether a value holds floating-point numbers at more than one position."""
    dims = dims_of(value) or ()
    sizes = [dims[layout.index(axis)] for axis in "HWT" if axis in layout]
    known = [size for size in sizes if isinstance(size, int)]
    return value.dtype not in QUANTIZED and len(known) == len(sizes) and math.prod(known) > 1


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


def _last_attention_input(classifier: Classifier, tokens: ir.Value) -> ir.Value | None:
    """Return the tokens from which the last attention computes its queries, keys and values."""
    nodes = classifier.forward_nodes()
    shape = (dims_of(tokens) or ())[1:]
    operands = next(filter(None, map(_attention_operands, reversed(nodes))), None)
    if operands is None:
        return None
    sources = [_upstream_values(value, set(nodes)) for value in operands]
    # Learned queries, as those of attention pooling, do not depend on the image.
    common = set.intersection(*[values for values in sources if classifier.image in values])
    for node in reversed(nodes):
        for value in node.outputs:
            if value in common and (dims_of(value) or ())[1:] == shape:
                return value
    return None


def _attention_operands(node: ir.Node) -> list[ir.Value] | None:
    """Return the operands of an attention: its inputs, or both factors of softmax(...) V."""
    if node.op_type in ("Attention", "MultiHeadAttention"):
        return [value for value in node.inputs[:3] if value is not None]
    if node.op_type != "Softmax" or len(dims_of(node.outputs[0]) or ()) < 3:
        return None
    product = next((n for n in node.outputs[0].consumers()), None)
    return None if product is None else [v for v in product.inputs if v is not None]


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
