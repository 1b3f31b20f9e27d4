"""A model that gives its scores, its layers' activations and their gradients in one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import OptionError
from adcc_onnx.graph.autodiff.builder import Builder, dims_of
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.layers import default_layer, find_value
from adcc_onnx.graph.classifier.opening import open_classifier
from adcc_onnx.graph.loading.saving import to_proto, with_weights
from adcc_onnx.graph.programs.endpoints import (
    PREFIX,
    add_output,
    add_target,
    class_scores,
    finish_output,
    one_hot,
)


def expose(
    model: str | Path | onnx.ModelProto,
    layers: Sequence[str] | None = None,
    scores: str = "logits",
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> onnx.ModelProto:
    """Differentiate a classifier: activations and gradients as ordinary outputs.

    Args:
        model: an ONNX file, or a model in memory.
        layers: names of tensors, nodes or exporter's module paths; the default layer if None.
        scores: differentiate the "logits" or the "probabilities".
        size: (height, width) of the input in pixels, where the model leaves it open.
        output: the model's output with the class scores; found by itself if None.

    Returns:
        A model of standard operators (and what custom ones the model had) with the model's own
        inputs and `target` (int64 [batch]; -1 is the predicted class), and with the model's own
        outputs first, then for every layer L, in the order asked, `L.activation` and
        `L.gradient`: d score[n, target[n]] / d L, per sample, of L's shape, float32 where the
        model is of lower precision.

    Raises:
        ModelError: its subclasses say what the model lacks; see `adcc_onnx.errors`.
        OptionError: `scores` is neither of the two.
    """
    return to_proto(with_weights(expose_graph(model, layers, scores, size, output)))


def expose_graph(
    model: str | Path | onnx.ModelProto,
    layers: Sequence[str] | None = None,
    scores: str = "logits",
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> ir.Model:
    """As `expose`; large weights stay in their file until the model is saved."""
    if scores not in ("logits", "probabilities"):
        raise OptionError(f"scores must be 'logits' or 'probabilities', not '{scores}'")
    classifier = open_classifier(model, size, output)
    graph_model = classifier.model
    names = list(layers) if layers else [default_layer(classifier).name]
    values = [find_value(graph_model, name) for name in names]
    builder = Builder(graph_model.graph, PREFIX)
    score = class_scores(builder, classifier, scores)
    target = add_target(builder, classifier)
    found = gradients(builder, score.value, one_hot(score, target), values)
    for name, value, gradient in zip(names, values, found, strict=True):
        add_output(builder, builder.wrap(value), f"{name}.activation", dims_of(value))
        add_output(builder, gradient, f"{name}.gradient", dims_of(value))
    return finish_output(graph_model, names, scores)
