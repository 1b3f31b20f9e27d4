"""Match the layers of two graphs of one network: by name, by module path, or by order.

Two exports of one network differ in names, in layouts, and in which operators are fused. Layers
that have the same name, the same operator and the same size are matched first, then those of the
same module path. Between these, and in graphs without common names, the sequences of layers are
aligned: a convolution with its bias and normalization counts as one layer, and operators that only
move values as none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import onnx_ir as ir

from adcc_onnx.errors import LayerShapeError
from adcc_onnx.graph.autodiff.builder import QUANTIZED, dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.image_input import own_name
from adcc_onnx.graph.classifier.layer_lookup import module_paths
from adcc_onnx.graph.classifier.layers import Layer, make_layer, vector_layer
from adcc_onnx.graph.classifier.layouts import infer_layouts
from adcc_onnx.graph.passes.dequantize import REWRITTEN

# Operators that change the shape or the type of values, but not the values.
_MOVES = {
    "Cast", "DequantizeLinear", "Dropout", "Flatten", "Identity", "Pad", "QuantizeLinear",
    "Reshape", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
_LINEAR = {"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"}
# With a constant, these continue a linear operator, or bound values as an activation does.
_SCALES = {"Add", "Div", "Mul", "Sub"}
_BOUNDS = {"Max", "Min"}
_ACTIVATIONS = {
    "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "QuickGelu", "Relu",
    "Selu", "Sigmoid", "Silu", "Softplus", "Tanh",
}  # fmt: skip
# Fewer common names than this fraction of the layers are a coincidence, such as numbers.
_MEANT = 0.2


@dataclass(frozen=True)
class LayerMatch:
    """A layer of one graph and its counterpart in the other.

    Attributes:
        first: The layer of the first graph.
        second: The layer of the second graph.
        by: What the match is based on: "name", "module" or "order".
    """

    first: Layer
    second: Layer
    by: str


@dataclass(frozen=True)
class _Candidate:
    """A layer with what it is compared by.

    Attributes:
        layer: The layer.
        kind: The kind of operator: "linear", "activation" or the operator's own name.
        module: The innermost module path; empty if none is recorded.
        ends: Whether the layer is the last of a linear operator or an activation that is written
            as several operators, and not a mere move of values.
    """

    layer: Layer
    kind: str
    module: str
    ends: bool

    @property
    def size(self) -> tuple[int, tuple[int, int]]:
        """The number of channels and the grid."""
        return self.layer.channels, self.layer.grid


def match_layers(first: Classifier, second: Classifier) -> list[LayerMatch]:
    """Match the layers between the image and the logits of two classifiers.

    Args:
        first: The first classifier; its image size must be fixed.
        second: The second classifier, likewise.

    Returns:
        The matches in the order of the first graph, which is that of the second graph, too.
    """
    ours, theirs = _candidates(first), _candidates(second)
    found = _increasing(_by_key(ours, theirs, lambda one: one.layer.name, "name"))
    if len(found) < _MEANT * min(len(ours), len(theirs)):
        found = []
    modules = _by_key(ours, theirs, lambda one: one.module, "module")
    known_first, known_second = {i for i, _, _ in found}, {j for _, j, _ in found}
    found += [m for m in modules if m[0] not in known_first and m[1] not in known_second]
    anchors = _increasing(sorted(found))
    pairs = [*anchors, *_between(ours, theirs, anchors)]
    return [LayerMatch(ours[i].layer, theirs[j].layer, by) for i, j, by in sorted(pairs)]


_Pair = tuple[int, int, str]


def _candidates(classifier: Classifier) -> list[_Candidate]:
    """List the layers of a graph in its order."""
    layouts = infer_layouts(classifier)
    found = []
    for node in classifier.forward_nodes():
        value = node.outputs[0]
        if (value.name or "").startswith(REWRITTEN) or value.dtype in QUANTIZED:
            continue
        layer = _layer(classifier, value, layouts)
        if layer is None:
            continue
        paths = list(module_paths(node))
        kind = _kind(node)
        ends = kind != "move" and not _continues(value, kind)
        found.append(_Candidate(layer, kind, paths[-1] if paths else "", ends))
    return found


def _layer(classifier: Classifier, value: ir.Value, layouts: dict[ir.Value, str]) -> Layer | None:
    dims = dims_of(value) or ()
    if len(dims) == 2:
        keeps_batch = dims[0] == classifier.batch
        return vector_layer(value, own_name(value)) if keeps_batch else None
    if value not in layouts:
        return None
    try:
        return make_layer(classifier, value, own_name(value), layouts)
    except LayerShapeError:
        return None


def _kind(node: ir.Node) -> str:
    """Return the kind of a node: what different exporters write for the same layer is equal."""
    op = node.op_type
    if op in _MOVES:
        return "move"
    if op in ("FusedConv", "FusedGemm") and "activation" in node.attributes:
        return "activation"
    if op in _LINEAR or op == "BatchNormalization" or (op in _SCALES and _has_constant(node)):
        return "linear"
    if op in _ACTIVATIONS or (op in _BOUNDS and _has_constant(node)):
        return "activation"
    return op


def _has_constant(node: ir.Node) -> bool:
    return any(v is not None and _is_constant(v) for v in node.inputs)


def _is_constant(value: ir.Value) -> bool:
    """Whether a value does not depend on an input: a weight, or one that is merely moved."""
    node = value.producer()
    if node is None:
        return value.is_initializer()
    if node.op_type == "Constant":
        return True
    return node.op_type in _MOVES and all(v is None or _is_constant(v) for v in node.inputs)


def _continues(value: ir.Value, kind: str) -> bool:
    """Whether the only consumer of a value is a further part of the same layer."""
    consumers = [node for node in value.consumers() if node.op_type != "Shape"]
    if len(consumers) != 1:
        return False
    node = consumers[0]
    if node.op_type in _MOVES:
        return any(_continues(output, kind) for output in node.outputs)
    if kind == "linear":
        return node.op_type not in _LINEAR and _kind(node) == "linear"
    return kind == "activation" and _kind(node) == "activation"


def _by_key(
    ours: Sequence[_Candidate],
    theirs: Sequence[_Candidate],
    key: Callable[[_Candidate], str],
    by: str,
) -> list[_Pair]:
    """Match candidates whose keys are equal and occur with this kind and size in both graphs."""
    # Of several layers of one module, the last is the module's output.
    places = {(key(one), one.kind, one.size): j for j, one in enumerate(theirs) if key(one)}
    last = {(key(one), one.kind, one.size): i for i, one in enumerate(ours) if key(one)}
    return sorted((i, places[k], by) for k, i in last.items() if k in places)


def _increasing(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Return the longest sequence of pairs that increases in both graphs."""
    best: list[int] = []
    before: list[int] = []
    for n, (_, j, _) in enumerate(pairs):
        earlier = [m for m in range(n) if pairs[m][1] < j]
        longest = max(earlier, key=lambda m: best[m], default=-1)
        best.append(best[longest] + 1 if longest >= 0 else 1)
        before.append(longest)
    place = max(range(len(pairs)), key=lambda n: best[n], default=-1)
    chosen: list[_Pair] = []
    while place >= 0:
        chosen.append(pairs[place])
        place = before[place]
    return chosen[::-1]


def _between(
    ours: Sequence[_Candidate], theirs: Sequence[_Candidate], anchors: Sequence[_Pair]
) -> list[_Pair]:
    """Align the layers between matched ones by their kinds and sizes."""
    edges = [(-1, -1), *((i, j) for i, j, _ in anchors), (len(ours), len(theirs))]
    found: list[_Pair] = []
    for (i, j), (next_i, next_j) in pairwise(edges):
        first = [n for n in range(i + 1, next_i) if ours[n].ends]
        second = [n for n in range(j + 1, next_j) if theirs[n].ends]
        matcher = SequenceMatcher(
            None,
            [(ours[n].kind, ours[n].size) for n in first],
            [(theirs[n].kind, theirs[n].size) for n in second],
            autojunk=False,
        )
        for block in matcher.get_matching_blocks():
            found += [(first[block.a + n], second[block.b + n], "order") for n in range(block.size)]
    return found
