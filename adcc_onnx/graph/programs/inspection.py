"""What a model is to us: its image, its scores, its layers, and what can be differentiated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from adcc_onnx.errors import NoGradientRuleError
from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET, Builder, dims_of
from adcc_onnx.graph.autodiff.gradient import all_inputs, gradients, missing_rules
from adcc_onnx.graph.classifier.layers import Layer, choose_default, explainable, module_paths
from adcc_onnx.graph.classifier.opening import open_classifier
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.programs.endpoints import PREFIX, class_scores, one_hot
from adcc_onnx.graph.programs.instrument import copy_of


def inspect(
    model: str | Path | onnx.ModelProto,
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> dict[str, Any]:
    """Everything `adcc-onnx inspect` shows, ready for JSON.

    Args:
        model: an ONNX file, or a model in memory.
        size: (height, width) of the input in pixels, where the model leaves it open.
        output: the model's output with the class scores; found by itself if None.

    Returns:
        `inputs` and `outputs` (name, type, shape); `image` (name, layout, size); `scores` (output,
        kind, where the logits are, classes); `layers`, each with name, module, kind, layout,
        shape, grid, channels, prefix and whether it is differentiable; `default` (name, why);
        `obstacles`, the operators that keep layers from being differentiable.

    Raises:
        ModelError: its subclasses say what the model lacks.
    """
    classifier = open_classifier(model, size, output)
    graph = classifier.model.graph
    layers = explainable(classifier)
    obstacles = _obstacles(classifier, layers)
    behind = _upstream_of(obstacles)
    default, why = choose_default(classifier)
    return {
        "opset": graph.opset_imports.get("", LOWEST_OPSET),
        "nodes": graph.num_nodes(),
        "inputs": [_value(value) for value in graph.inputs],
        "outputs": [_value(value) for value in graph.outputs],
        "image": {
            "name": classifier.image.name,
            "layout": classifier.layout,
            "size": None if classifier.size is None else list(classifier.size),
        },
        "scores": {
            "output": classifier.scores.name,
            "kind": classifier.scores_kind,
            "logits": classifier.logits.name,
            "classes": classifier.classes,
        },
        "layers": [_layer(layer, layer.value not in behind) for layer in layers],
        "default": {"name": default.name, "why": why},
        "obstacles": [
            {"node": _name_of(node), "operator": _operator(node), "reason": reason}
            for node, reason in obstacles.items()
        ],
    }


def _value(value: ir.Value) -> dict[str, Any]:
    dims = dims_of(value)
    kind = "unknown" if value.dtype is None else value.dtype.name.lower()
    return {"name": value.name, "type": kind, "shape": None if dims is None else list(dims)}


def _layer(layer: Layer, differentiable: bool) -> dict[str, Any]:
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
        "prefix": layer.prefix,
        "differentiable": differentiable,
    }


def _obstacles(classifier: Classifier, layers: list[Layer]) -> dict[ir.Node, str]:
    """The nodes between the layers and the scores that cannot be differentiated, and why."""
    found = dict.fromkeys(
        missing_rules(classifier.logits, [classifier.image]), "it has no gradient rule"
    )
    if not found and layers:
        # A rule may refuse a node: that shows when the gradient is written.
        refused = _refusal(classifier, layers[0])
        found.update({} if refused is None else dict([refused]))
    return found


def _refusal(classifier: Classifier, layer: Layer) -> tuple[ir.Node, str] | None:
    copy, (earliest,) = copy_of(classifier, [layer])
    builder = Builder(copy.model.graph, PREFIX)
    score = class_scores(builder, copy, "logits")
    try:
        gradients(
            builder,
            score.value,
            one_hot(score, score.op("ArgMax", axis=1, keepdims=0)),
            [earliest.value],
        )
    except NoGradientRuleError as error:
        by_name = {v.name: node for node in classifier.model.graph for v in node.outputs}
        return by_name[error.output], str(error).partition(": ")[2]
    return None


def _upstream_of(nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """All values that the nodes are computed from."""
    seen: set[ir.Value] = set()
    pending = [value for node in nodes for value in all_inputs(node)]
    while pending:
        value = pending.pop()
        if value not in seen:
            seen.add(value)
            producer = value.producer()
            pending.extend([] if producer is None else all_inputs(producer))
    return seen


def _name_of(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or ""


def _operator(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type
