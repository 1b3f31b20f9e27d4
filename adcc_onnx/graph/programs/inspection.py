"""Describe a model: its image input, its scores, its layers, and what can be differentiated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError, NoGradientRuleError, warnings_as_notes
from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET, QUANTIZED, Builder, dims_of
from adcc_onnx.graph.autodiff.gradient import all_inputs, gradients, missing_rules
from adcc_onnx.graph.classifier.default_layer import choose_default
from adcc_onnx.graph.classifier.fixed_inputs import InputValues
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.image_input import has_certain_layout, own_name
from adcc_onnx.graph.classifier.layer_lookup import module_paths
from adcc_onnx.graph.classifier.layers import Layer, explainable_layers
from adcc_onnx.graph.classifier.opening import open_classifier, read_open_source, read_source
from adcc_onnx.graph.loading.file_description import FileDescription, file_description
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.endpoints import class_scores, one_hot
from adcc_onnx.graph.programs.tensor_names import NAME_PREFIX


def inspect(
    model: str | Path | onnx.ModelProto | Classifier,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
    *,
    layout: str | None = None,
    scores_kind: str | None = None,
    file: FileDescription | None = None,
    known: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe a classifier, in a form that can be written as JSON.

    Args:
        model: The path of an ONNX file, a model in memory, or a classifier.
        size: The (height, width) of the images in pixels; required only if the model does not
            fix it.
        scores_output: The name of the output with the class scores; found automatically if None.
        set_inputs: The values of inputs that become constants, by the input's name; other inputs
            than the image stay inputs.
        layout: The layout of the image input, "NCHW" or "NHWC"; inferred from its shape if None.
        scores_kind: The kind of scores (see `Classifier`); inferred from the graph if None.
        file: The file that a classifier was read from.
        known: The warnings that were given when a classifier was read; they become notes.

    Returns:
        A dictionary with the keys `opset`, `domains` (the versions of other operator domains),
        `nodes`, `inputs` and `outputs` (name, type, shape) of the model's file; `image` (name,
        layout, size); `scores` (output, kind, logits, classes); `layers` (name, module, kind,
        layout, shape, grid, channels, prefix_tokens, differentiable); `default` (the name of the
        default layer, the reason for choosing it, and whether it is a guess; None if there is
        none); `unsupported_operators`, which stop the gradient on its way to some layers (node,
        operator, reason); and `notes`, which say in sentences what is uncertain.

    Raises:
        ModelError: The model cannot be used; the subclass says why.

    Example:
        >>> from adcc_onnx.drawings import classifier_path
        >>> found = inspect(classifier_path())
        >>> found["image"]["layout"], found["scores"]["kind"]
        ('NCHW', 'logits')
        >>> found["default"]["reason"]
        'the last feature map before pooling or flattening'
    """
    notes = list(known)
    with warnings_as_notes(notes):
        opened = model
        if not isinstance(model, Classifier):
            source = read_source(model)
            file = file_description(source)
            opened = read_open_source(source, size, scores_output, set_inputs, layout, scores_kind)
        classifier = open_classifier(opened, size, scores_output)
        found = _describe_classifier(classifier, notes)
    if layout is None and not has_certain_layout(classifier.image):
        name = own_name(classifier.image)
        notes.append(
            f"the layout {classifier.layout} of the input '{name}' is a guess: its shape does not "
            "show where the channels are (the key `layout` in a card sets it)"
        )
    if classifier.scores_reason:
        notes.append(classifier.scores_reason)
    return {**_describe_file(file, classifier), **found, "notes": list(dict.fromkeys(notes))}


def _describe_file(file: FileDescription | None, classifier: Classifier) -> dict[str, Any]:
    """Describe the user's file; the prepared graph if there is none."""
    graph = classifier.model.graph
    if file is None:
        return {
            "opset": graph.opset_imports.get("", LOWEST_OPSET),
            "domains": {},
            "nodes": graph.num_nodes(),
            "inputs": [_describe_value(value) for value in graph.inputs],
            "outputs": [_describe_value(value) for value in graph.outputs],
        }
    return {
        "opset": file.opset,
        "domains": file.domains,
        "nodes": file.nodes,
        "inputs": [value.to_dict() for value in file.inputs],
        "outputs": [value.to_dict() for value in file.outputs],
    }


def _describe_classifier(classifier: Classifier, notes: list[str]) -> dict[str, Any]:
    """Describe the image, the scores and the layers; what cannot be found is noted."""
    layers = explainable_layers(classifier)
    unsupported = _unsupported_nodes(classifier, layers, notes)
    blocked = _upstream_values(unsupported)
    discrete = {layer.value for layer in layers if layer.value.dtype in QUANTIZED}
    return {
        "image": _describe_image(classifier),
        "scores": _describe_scores(classifier),
        "layers": [
            _describe_layer(layer, layer.value not in blocked | discrete) for layer in layers
        ],
        "default": _describe_default(classifier, notes),
        "unsupported_operators": [
            {"node": _node_name(node), "operator": _operator_name(node), "reason": problem}
            for node, problem in unsupported.items()
        ],
    }


def _describe_default(classifier: Classifier, notes: list[str]) -> dict[str, Any] | None:
    try:
        default = choose_default(classifier)
    except ModelError as error:
        notes.append(f"{error}; methods on pixels need no layer")
        return None
    name = own_name(default.layer.value)
    if default.guess:
        notes.append(f"the default layer '{name}' is {default.reason}")
    return {"name": name, "reason": default.reason, "guess": default.guess}


def _describe_value(value: ir.Value) -> dict[str, Any]:
    dims = dims_of(value)
    kind = "unknown" if value.dtype is None else value.dtype.name.lower()
    return {"name": value.name, "type": kind, "shape": None if dims is None else list(dims)}


def _describe_image(classifier: Classifier) -> dict[str, Any]:
    return {
        "name": own_name(classifier.image),
        "layout": classifier.layout,
        "size": None if classifier.size is None else list(classifier.size),
    }


def _describe_scores(classifier: Classifier) -> dict[str, Any]:
    return {
        "output": classifier.scores.name,
        "kind": classifier.scores_kind,
        "logits": classifier.logits.name,
        "classes": classifier.classes,
    }


def _describe_layer(layer: Layer, differentiable: bool) -> dict[str, Any]:
    producer = layer.value.producer()
    modules = [] if producer is None else list(module_paths(producer))
    return {
        "name": layer.name,
        "module": modules[-1] if modules else None,
        "kind": layer.kind,
        "layout": layer.layout,
        "shape": list(dims_of(layer.value) or ()),
        "grid": list(layer.grid),
        "channels": layer.channels,
        "prefix_tokens": layer.prefix_tokens,
        "differentiable": differentiable,
    }


def _unsupported_nodes(
    classifier: Classifier, layers: list[Layer], notes: list[str]
) -> dict[ir.Node, str]:
    """Return the nodes before the scores that cannot be differentiated, each with the reason."""
    nodes = missing_rules(classifier.logits, [classifier.image])
    reasons = dict.fromkeys(nodes, "it has no gradient rule")
    if not reasons and layers:
        # A rule may also reject a node, which shows only when the gradient is built.
        try:
            rejected = _rejected_node(classifier, layers[0])
        except ModelError as error:
            rejected = None
            notes.append(f"gradients are uncertain: {error}")
        reasons.update({} if rejected is None else dict([rejected]))
    return reasons


def _rejected_node(classifier: Classifier, layer: Layer) -> tuple[ir.Node, str] | None:
    """Build the gradient of a layer, and return the first node that its rule rejects."""
    clone, (earliest,) = clone_classifier(classifier, [layer])
    builder = Builder(clone.model.graph, NAME_PREFIX)
    score = class_scores(builder, clone)
    seed = one_hot(score, score.op("ArgMax", axis=1, keepdims=0))
    try:
        gradients(builder, score.value, seed, [earliest.value])
    except NoGradientRuleError as error:
        by_name = {v.name: node for node in classifier.model.graph for v in node.outputs}
        node = by_name.get(error.output)
        if node is None:  # a part of an operator that was decomposed
            raise
        return node, str(error).partition(": ")[2]
    return None


def _upstream_values(nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """Return all values that the nodes are computed from."""
    found: set[ir.Value] = set()
    pending = [value for node in nodes for value in all_inputs(node)]
    while pending:
        value = pending.pop()
        if value not in found:
            found.add(value)
            producer = value.producer()
            pending.extend([] if producer is None else all_inputs(producer))
    return found


def _node_name(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or ""


def _operator_name(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type
