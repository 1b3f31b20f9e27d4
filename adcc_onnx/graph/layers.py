"""The layers of a classifier: their names, what kind of map each folds to, and the default one."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from adcc_onnx.errors import LayerShapeError, ModelError, UnknownLayerError, did_you_mean
from adcc_onnx.graph.build import QUANTISED, Dim, dims_of
from adcc_onnx.graph.classifier import Classifier
from adcc_onnx.graph.gradient import path_nodes

# More class and register tokens than any published transformer puts before its patches.
_MOST_PREFIX_TOKENS = 16
_SCOPES = "pkg.torch.onnx.name_scopes"  # where the torch exporter records module paths


@dataclass(frozen=True)
class Layer:
    """One explainable layer.

    Attributes:
        name: as the user asked for it, or the tensor's name.
        value: the tensor.
        kind: "feature_map" (rank 4) or "tokens" ([batch, tokens, channels]).
        layout: "NCHW" or "NHWC" of a feature map, "NTC" of tokens.
        channels: K, the number of channels.
        grid: (h, w), the size of its map.
        prefix: tokens before the grid's (class and register tokens), dropped when folded.
    """

    name: str
    value: ir.Value
    kind: str
    layout: str
    channels: int
    grid: tuple[int, int]
    prefix: int = 0


def find_value(model: ir.Model, name: str) -> ir.Value:
    """The tensor a user means by a tensor's name, a node's name or a module path.

    Raises:
        UnknownLayerError: with the closest names there are.
    """
    by_name = layer_names(model)
    if name not in by_name:
        hint = did_you_mean(name, by_name) or "; `adcc-onnx inspect` lists the layers"
        raise UnknownLayerError(f"the model has no layer '{name}'{hint}")
    return _real_value(by_name[name], name)


def _real_value(value: ir.Value, name: str) -> ir.Value:
    """A tensor of whole numbers as the real one that is made of it."""
    if value.dtype not in QUANTISED:
        return value
    turned = [n.outputs[0] for n in value.consumers() if n.op_type == "DequantizeLinear"]
    if len(turned) != 1:
        raise LayerShapeError(f"layer '{name}' is quantised; name the real tensor next to it")
    return turned[0]


def layer_names(model: ir.Model) -> dict[str, ir.Value]:
    """Every name a layer can be asked by; a tensor's own name wins over a node's, a module's."""
    tensors = {v.name: v for node in model.graph for v in node.outputs if v.name}
    tensors.update({v.name: v for v in model.graph.inputs if v.name})
    nodes = {node.name: node.outputs[0] for node in model.graph if node.name}
    # A module's output is that of its last node: later nodes overwrite earlier ones.
    modules = {path: node.outputs[0] for node in model.graph for path in module_paths(node)}
    return {**modules, **nodes, **tensors}


def module_paths(node: ir.Node) -> Iterator[str]:
    """The module paths an exporter recorded for a node, outermost first (`layer4`, `layer4.1`)."""
    recorded = node.metadata_props.get(_SCOPES)
    if recorded is not None:
        try:
            scopes = ast.literal_eval(recorded)
        except (ValueError, SyntaxError):
            return
        yield from (scope for scope in scopes[:-1] if isinstance(scope, str) and scope)
    elif node.name and node.name.startswith("/"):
        yield from _paths_in_name(node.name.split("/")[1:-1])


def _paths_in_name(segments: list[str]) -> Iterator[str]:
    """torch's older exporter: /layer4/layer4.1/conv2/Conv -> layer4, layer4.1, layer4.1.conv2."""
    path, last = "", ""
    for segment in segments:
        if last and segment.startswith(f"{last}."):
            path = path[: len(path) - len(last)] + segment
        else:
            path = f"{path}.{segment}" if path else segment
        last = segment
        yield path


def read_layer(classifier: Classifier, name: str) -> Layer:
    """The layer a user asked for.

    Raises:
        UnknownLayerError: there is none of that name.
        LayerShapeError: it folds to no map of height by width.
    """
    return as_layer(classifier, find_value(classifier.model, name), name)


def default_layer(classifier: Classifier) -> Layer:
    """The last feature map before global pooling or flattening, or the last block's tokens.

    A map whose channels are the classes (SqueezeNet) is passed over for the one before the
    convolution that makes it: behind it all gradient methods coincide.

    Raises:
        ModelError: the scores depend on no such value; name one by --layer.
    """
    value = _head_input(classifier)
    dims = dims_of(value) or ()
    if len(dims) == 3:
        value = _last_attention_input(classifier, value)
    elif classifier.classes in (dims[1], dims[3]):
        value = _before_class_maps(value)
    return as_layer(classifier, value, value.name or "")


def as_layer(classifier: Classifier, value: ir.Value, name: str) -> Layer:
    """Tell the kind of a tensor and how it folds to a map."""
    dims = dims_of(value)
    if dims is not None and len(dims) == 4:
        layout = classifier.layout if value is classifier.image else "NCHW"
        channels, height, width = dims[1:] if layout == "NCHW" else (dims[3], dims[1], dims[2])
        if isinstance(channels, int) and isinstance(height, int) and isinstance(width, int):
            return Layer(name, value, "feature_map", layout, channels, (height, width))
    if dims is not None and len(dims) == 3:
        tokens, channels = dims[1], dims[2]
        if isinstance(tokens, int) and isinstance(channels, int):
            prefix, grid = _token_grid(classifier, tokens, name)
            return Layer(name, value, "tokens", "NTC", channels, grid, prefix)
    shape = "unknown" if dims is None else str(list(dims))
    raise LayerShapeError(
        f"layer '{name}' has shape {shape}: a map needs [batch, channels, height, width] or "
        "[batch, tokens, channels] of fixed size (give --size if the input's is not)"
    )


def _token_grid(classifier: Classifier, tokens: int, name: str) -> tuple[int, tuple[int, int]]:
    """(prefix tokens, grid): the patch embedding's grid where it fits, else the largest square."""
    for node in _image_path(classifier):
        dims = dims_of(node.outputs[0]) or ()
        if len(dims) == 4 and isinstance(dims[2], int) and isinstance(dims[3], int):
            prefix = tokens - dims[2] * dims[3]
            if node.op_type == "Conv" and 0 <= prefix <= _MOST_PREFIX_TOKENS:
                return prefix, (dims[2], dims[3])
    side = math.isqrt(tokens)
    if tokens - side * side > _MOST_PREFIX_TOKENS:
        raise LayerShapeError(f"the {tokens} tokens of layer '{name}' fold to no grid")
    return tokens - side * side, (side, side)


def _image_path(classifier: Classifier) -> list[ir.Node]:
    return path_nodes([classifier.logits], [classifier.image])


def _head_input(classifier: Classifier) -> ir.Value:
    """Walking back from the logits, the last value that still has an extent in space."""
    order = {node: place for place, node in enumerate(_image_path(classifier))}
    pending, seen = [classifier.logits], {classifier.logits}
    found: list[ir.Value] = []
    while pending:
        value = pending.pop()
        node = value.producer()
        if _has_extent(dims_of(value)):
            found.append(value)
        elif node in order:
            inputs = {v for v in node.inputs if v is not None} - seen
            seen |= inputs
            pending.extend(inputs)
    place = {value: order[node] for value in found if (node := value.producer()) in order}
    if not place:
        raise ModelError(
            "the class scores depend on no feature map; name a layer by --layer "
            "(`adcc-onnx inspect` lists them)"
        )
    return max(place, key=place.__getitem__)


def _has_extent(dims: tuple[Dim, ...] | None) -> bool:
    """A map larger than one pixel, or more than one token."""
    if dims is None or len(dims) not in (3, 4):
        return False
    space = dims[2:] if len(dims) == 4 else dims[1:2]
    sizes = [size for size in space if isinstance(size, int)]
    return len(sizes) == len(space) and math.prod(sizes) > 1


def _before_class_maps(value: ir.Value) -> ir.Value:
    """The input of the convolution that makes the class maps."""
    node = value.producer()
    while node is not None and node.op_type != "Conv":
        first = node.inputs[0] if node.inputs else None
        node = None if first is None else first.producer()
    before = value if node is None else node.inputs[0]
    return value if before is None or before.is_graph_input() else before


def _last_attention_input(classifier: Classifier, tokens: ir.Value) -> ir.Value:
    """The tokens that the queries, keys and values of the last attention are all made from."""
    path = _image_path(classifier)
    shape = (dims_of(tokens) or ())[1:]
    softmaxes = [n for n in path if n.op_type == "Softmax" and len(dims_of(n.outputs[0]) or ()) > 2]
    product = next((n for n in softmaxes[-1].outputs[0].consumers()), None) if softmaxes else None
    if product is None:
        return tokens
    sides = [_made_from(v, set(path)) for v in product.inputs if v is not None]
    common = set.intersection(*sides)
    for node in reversed(path):
        for value in node.outputs:
            if value in common and (dims_of(value) or ())[1:] == shape:
                return value
    return tokens


def _made_from(value: ir.Value, path: set[ir.Node]) -> set[ir.Value]:
    """A value and all values on the path it is computed from."""
    seen, pending = {value}, [value]
    while pending:
        node = pending.pop().producer()
        if node in path:
            inputs = {v for v in node.inputs if v is not None} - seen
            seen |= inputs
            pending.extend(inputs)
    return seen
