"""Describe a model: its image input, its scores, its layers, and what can be differentiated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from adcc_onnx.errors import NoGradientRuleError
from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET, Builder, dims_of
from adcc_onnx.graph.autodiff.gradient import all_inputs, gradients, missing_rules
from adcc_onnx.graph.classifier.default_layer import choose_default
from adcc_onnx.graph.classifier.fixed_inputs import InputValues
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layer_lookup import module_paths
from adcc_onnx.graph.classifier.layers import Layer, explainable_layers
from adcc_onnx.graph.classifier.opening import open_classifier
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.endpoints import class_scores, one_hot
from adcc_onnx.graph.programs.tensor_names import NAME_PREFIX


def inspect(
    model: str | Path | onnx.ModelProto,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> dict[str, Any]:
    """Describe a classifier, in a form that can be written as JSON.

    Args:
        model: The path of an ONNX file, or a model in memory.
        size: The (height, width) of the images in pixels; required only if the model does not
            fix it.
        scores_output: The name of the output with the class scores; found automatically if None.
        set_inputs: The values of inputs that become constants, by the input's name; other inputs
            than the image stay inputs.

    Returns:
        A dictionary with the keys `opset` and `nodes`; `inputs` and `outputs` (name, type, shape);
        `image` (name, layout, size); `scores` (output, kind, logits, classes); `layers` (name,
        module, kind, layout, shape, grid, channels, prefix_tokens, differentiable); `default` (the
        name of the default layer, the reason for choosing it, and whether it is a guess); and
        `unsupported_operators`, which stop the gradient on its way to some layers (node, operator,
        reason).

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
    classifier = open_classifier(model, size, scores_output, set_inputs)
    graph = classifier.model.graph
    layers = explainable_layers(classifier)
    unsupported = _unsupported_nodes(classifier, layers)
    blocked = _upstream_values(unsupported)
    default = choose_default(classifier)
    return {
        "opset": graph.opset_imports.get("", LOWEST_OPSET),
        "nodes": graph.num_nodes(),
        "inputs": [_describe_value(value) for value in graph.inputs],
        "outputs": [_describe_value(value) for value in graph.outputs],
        "image": _describe_image(classifier),
        "scores": _describe_scores(classifier),
        "layers": [_describe_layer(layer, layer.value not in blocked) for layer in layers],
        "default": {
            "name": default.layer.name,
            "reason": default.reason,
            "guess": default.guess,
        },
        "unsupported_operators": [
            {"node": _node_name(node), "operator": _operator_name(node), "reason": problem}
            for node, problem in unsupported.items()
        ],
    }


def _describe_value(value: ir.Value) -> dict[str, Any]:
    dims = dims_of(value)
    kind = "unknown" if value.dtype is None else value.dtype.name.lower()
    return {"name": value.name, "type": kind, "shape": None if dims is None else list(dims)}


def _describe_image(classifier: Classifier) -> dict[str, Any]:
    return {
        "name": classifier.image.name,
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


def _unsupported_nodes(classifier: Classifier, layers: list[Layer]) -> dict[ir.Node, str]:
    """Return the nodes before the scores that cannot be differentiated, each with the reason."""
    nodes = missing_rules(classifier.logits, [classifier.image])
    reasons = dict.fromkeys(nodes, "it has no gradient rule")
    if not reasons and layers:
        # A rule may also reject a node, which shows only when the gradient is built.
        rejected = _rejected_node(classifier, layers[0])
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
        return by_name[error.output], str(error).partition(": ")[2]
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
