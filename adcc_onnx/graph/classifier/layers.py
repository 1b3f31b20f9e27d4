"""The layers of a classifier: their names, what kind of map each folds to, and the default one."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from adcc_onnx.errors import LayerShapeError, ModelError, UnknownLayerError, did_you_mean
from adcc_onnx.graph.autodiff.builder import QUANTIZED, Dim, dims_of
from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.layouts import MAPS, TOKENS, layouts
from adcc_onnx.graph.classifier.scores import Classifier, image_of

# More class and register tokens than any published transformer puts before its patches.
_MOST_PREFIX_TOKENS = 16
INPUT = "input"  # the image, as a layer
_SCOPES = "pkg.torch.onnx.name_scopes"  # where the torch exporter records module paths


@dataclass(frozen=True)
class Layer:
    """One explainable layer.

    Attributes:
        name: as the user asked for it, or the tensor's name.
        value: the tensor.
        kind: "feature_map" (rank 4) or "tokens" ([batch, tokens, channels]).
        layout: "NCHW" or "NHWC" of a feature map, "NTC" or "NCT" of tokens.
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

    @property
    def as_shown(self) -> bool:
        """Whether the tensor itself is what methods see of it, float32 [batch, K, h, w]."""
        return self.layout == "NCHW" and self.value.dtype == ir.DataType.FLOAT


def find_value(model: ir.Model, name: str) -> ir.Value:
    """The tensor a user means by a tensor's name, a node's name or a module path.

    Raises:
        UnknownLayerError: with the closest names there are.
    """
    by_name = layer_names(model)
    if name == INPUT and name not in by_name:
        return image_of(model)
    if name not in by_name:
        hint = did_you_mean(name, by_name) or "; `adcc-onnx inspect` lists the layers"
        raise UnknownLayerError(f"the model has no layer '{name}'{hint}")
    return _real_value(by_name[name], name)


def _real_value(value: ir.Value, name: str) -> ir.Value:
    """A tensor of whole numbers as the real one that is made of it."""
    if value.dtype not in QUANTIZED:
        return value
    turned = [n.outputs[0] for n in value.consumers() if n.op_type == "DequantizeLinear"]
    if len(turned) != 1:
        raise LayerShapeError(f"layer '{name}' is quantized; name the real tensor next to it")
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
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # all of them the parser's
            return
        if isinstance(scopes, list):
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
    """The layer explained where none is asked for; see `choose_default`."""
    return choose_default(classifier)[0]


def choose_default(classifier: Classifier) -> tuple[Layer, str]:
    """The last feature map before global pooling or flattening, or the last block's tokens.

    A map whose channels are the classes (SqueezeNet) is passed over for the one before the
    convolution that makes it: behind it all gradient methods coincide.

    Returns:
        The layer, and in a few words why it is the one.

    Raises:
        ModelError: the scores depend on no such value; name one by --layer.
    """
    known = known_layouts(classifier)
    value = _before_unrolling(_head_input(classifier, known), known)
    why = "the last feature map before it is pooled or flattened"
    if known[value] in TOKENS:
        entering = _last_attention_input(classifier, value)
        why = "the tokens entering the last attention"
        if entering is None:
            why = "the last tokens before they are pooled"
        value = entering or value
    elif classifier.classes == _channels(value, known[value]):
        value = _before_class_maps(value)
        why = "the last feature map before the one whose channels are the classes"
    return as_layer(classifier, value, value.name or "", known), why


def explainable(classifier: Classifier) -> list[Layer]:
    """Every value between the image and the scores that folds to a map, in the graph's order."""
    known = known_layouts(classifier)
    found = []
    for value in known:
        try:
            layer = as_layer(classifier, value, value.name or "", known)
        except LayerShapeError:
            continue
        if math.prod(layer.grid) > 1:
            found.append(layer)
    return found


def known_layouts(classifier: Classifier) -> dict[ir.Value, str]:
    """The layout of every value on the way from the image to the scores, where it is known."""
    return layouts(classifier.image, classifier.layout, _image_path(classifier))


def as_layer(
    classifier: Classifier, value: ir.Value, name: str, known: dict[ir.Value, str] | None = None
) -> Layer:
    """Tell the kind of a tensor and how it folds to a map.

    Raises:
        LayerShapeError: it folds to none.
    """
    dims = dims_of(value) or ()
    fixed = all(isinstance(size, int) for size in dims[1:])
    layout = (known_layouts(classifier) if known is None else known).get(value)
    # What the axes of an operator of one's own mean is not known: then as most have them.
    layout = layout or {3: "NTC", 4: "NCHW"}.get(len(dims))
    if fixed and layout in MAPS:
        channels, height, width = (int(dims[layout.index(axis)] or 0) for axis in "CHW")
        return Layer(name, value, "feature_map", layout, channels, (height, width))
    if fixed and layout in TOKENS:
        channels, tokens = (int(dims[layout.index(axis)] or 0) for axis in "CT")
        prefix, grid = _token_grid(classifier, tokens, name)
        return Layer(name, value, "tokens", layout, channels, grid, prefix)
    shape = f"[{', '.join(str(size or '?') for size in dims)}]" if dims else "unknown"
    raise LayerShapeError(
        f"layer '{name}' has shape {shape}: a map needs [batch, channels, height, width] or "
        "[batch, tokens, channels] of fixed size (give --size if the input's is not)"
    )


def _channels(value: ir.Value, layout: str) -> Dim:
    return (dims_of(value) or ())[layout.index("C")]


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


def _head_input(classifier: Classifier, known: dict[ir.Value, str]) -> ir.Value:
    """Walking back from the logits, the last value that still has an extent in space."""
    order = {node: place for place, node in enumerate(_image_path(classifier))}
    pending, seen = [classifier.logits], {classifier.logits}
    found: list[ir.Value] = []
    while pending:
        value = pending.pop()
        node = value.producer()
        if value in known and _has_extent(value, known[value]):
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


def _has_extent(value: ir.Value, layout: str) -> bool:
    """A map larger than one pixel, or more than one token, of real numbers."""
    dims = dims_of(value) or ()
    sizes = [dims[layout.index(axis)] for axis in "HWT" if axis in layout]
    known = [size for size in sizes if isinstance(size, int)]
    return value.dtype not in QUANTIZED and len(known) == len(sizes) and math.prod(known) > 1


def _before_unrolling(value: ir.Value, known: dict[ir.Value, str]) -> ir.Value:
    """The feature map that tokens are only another view of."""
    seen: ir.Value | None = value
    while seen is not None:
        if known.get(seen) in MAPS:
            return seen
        node = seen.producer()
        moves = node is not None and node.op_type in ("Reshape", "Transpose", "Flatten", "Squeeze")
        seen = node.inputs[0] if node is not None and moves else None
    return value


def _before_class_maps(value: ir.Value) -> ir.Value:
    """The input of the convolution that makes the class maps."""
    node = value.producer()
    while node is not None and node.op_type != "Conv":
        first = node.inputs[0] if node.inputs else None
        node = None if first is None else first.producer()
    before = value if node is None else node.inputs[0]
    return value if before is None or before.is_graph_input() else before


def _last_attention_input(classifier: Classifier, tokens: ir.Value) -> ir.Value | None:
    """The tokens that the queries, keys and values of the last attention are all made from."""
    path = _image_path(classifier)
    shape = (dims_of(tokens) or ())[1:]
    parts = next(filter(None, map(_attention_parts, reversed(path))), None)
    if parts is None:
        return None
    sides = [_made_from(value, set(path)) for value in parts]
    # Learned queries, as of a pooling attention, are made from nothing.
    common = set.intersection(*[side for side in sides if classifier.image in side])
    for node in reversed(path):
        for value in node.outputs:
            if value in common and (dims_of(value) or ())[1:] == shape:
                return value
    return None


def _attention_parts(node: ir.Node) -> list[ir.Value] | None:
    """What an attention works on: its inputs, or the two sides of softmax(...) V."""
    if node.op_type in ("Attention", "MultiHeadAttention"):
        return [value for value in node.inputs[:3] if value is not None]
    if node.op_type != "Softmax" or len(dims_of(node.outputs[0]) or ()) < 3:
        return None
    product = next((n for n in node.outputs[0].consumers()), None)
    return None if product is None else [v for v in product.inputs if v is not None]


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
