"""Choose the layer that is explained if the user names none."""

from __future__ import annotations

import math

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import QUANTIZED, Dim, dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import MAX_PREFIX_TOKENS, Layer, make_layer
from adcc_onnx.graph.classifier.layouts import MAP_LAYOUTS, TOKEN_LAYOUTS, infer_layouts

# Operators that exporters write between Q K^T and the softmax.
_BEFORE_SOFTMAX = {"Add", "Cast", "Div", "Mul", "Reshape", "Where"}
# Operators that exporters write between the softmax and the values of an attention.
_BEFORE_PRODUCT = {"Cast", "Dropout", "Identity", "Reshape", "Where", "IsNaN", "Mul"}


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
    """Return the tokens from which the last attention computes its queries, keys and values.

    An attention with learned queries, as it pools tokens, counts only if there is no other.
    """
    nodes = classifier.forward_nodes()
    attentions = [o for o in map(_attention_operands, reversed(nodes)) if o is not None]
    if not attentions:
        return None
    sources = ([_upstream_values(v, set(nodes)) for v in operands] for operands in attentions)
    first: list[set[ir.Value]] = []
    for found in sources:
        first = first or found
        if all(classifier.image in values for values in found):
            return _last_tokens_in(set.intersection(*found), nodes, tokens)
    usable = [values for values in first if classifier.image in values]
    return _last_tokens_in(set.intersection(*usable), nodes, tokens) if usable else None


def _last_tokens_in(
    values: set[ir.Value], nodes: list[ir.Node], tokens: ir.Value
) -> ir.Value | None:
    """Return the last of some values that has the shape of tokens, perhaps with prefix tokens.

    Values with as many channels as the tokens come first: a pooling attention may change them.
    """
    dims = dims_of(tokens) or ()
    outputs = [value for node in reversed(nodes) for value in node.outputs if value in values]
    alike = [value for value in outputs if _is_like_tokens(dims_of(value) or (), dims)]
    same = [value for value in alike if (dims_of(value) or ())[-1] == dims[-1]]
    if same or not alike:
        return same[0] if same else None
    return _before_projection(alike[0])


def _before_projection(value: ir.Value) -> ir.Value:
    """Return what a linear layer takes; other values as they are."""
    current = value
    while (node := current.producer()) is not None and node.op_type in ("Add", "MatMul", "Gemm"):
        computed = [v for v in node.inputs if v is not None and not v.is_initializer()]
        if len(computed) != 1:
            break
        current = computed[0]
    return current


def _is_like_tokens(dims: tuple[Dim, ...], tokens: tuple[Dim, ...]) -> bool:
    """Whether a shape has as many positions as the tokens, or a few prefix tokens more."""
    if len(dims) != 3 or len(tokens) != 3:
        return dims[1:] == tokens[1:]
    if not isinstance(dims[1], int) or not isinstance(tokens[1], int):
        return dims[1:] == tokens[1:]
    return 0 <= dims[1] - tokens[1] <= MAX_PREFIX_TOKENS


def _attention_operands(node: ir.Node) -> list[ir.Value] | None:
    """Return the queries, keys and values of an attention, however it is written."""
    if node.op_type in ("Attention", "MultiHeadAttention"):
        return [value for value in node.inputs[:3] if value is not None]
    if node.op_type != "Softmax" or len(dims_of(node.outputs[0]) or ()) < 3:
        return None
    product = _product_with_values(node.outputs[0])
    if product is None:
        return None
    values = [v for v in product.inputs if v is not None]
    return [*_queries_and_keys(node), *values]


def _queries_and_keys(softmax: ir.Node) -> list[ir.Value]:
    """Return the factors of the product Q K^T that a softmax normalizes."""
    value = softmax.inputs[0]
    while value is not None and (node := value.producer()) is not None:
        if node.op_type in ("MatMul", "Einsum"):
            return [v for v in node.inputs if v is not None]
        if node.op_type not in _BEFORE_SOFTMAX:
            break
        value = node.inputs[0]
    return []


def _product_with_values(probabilities: ir.Value) -> ir.Node | None:
    """Return the matrix product that attention probabilities enter.

    Exporters write a Cast, a Dropout or a guard against NaN (IsNaN and Where) between them.
    """
    pending, visited = [probabilities], {probabilities}
    while pending:
        for node in pending.pop(0).consumers():
            if node.op_type in ("MatMul", "Einsum", "Gemm"):
                return node
            output = node.outputs[0]
            if node.op_type in _BEFORE_PRODUCT and output not in visited:
                visited.add(output)
                pending.append(output)
    return None


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
