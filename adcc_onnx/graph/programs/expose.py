"""A model that computes its scores, its activations and their gradients in one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Builder, dims_of
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.classifier.fixed_inputs import InputValues
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.image_input import restore_own_input
from adcc_onnx.graph.classifier.layer_lookup import find_value
from adcc_onnx.graph.classifier.opening import open_classifier
from adcc_onnx.graph.loading.saving import to_proto, with_weights
from adcc_onnx.graph.programs.differentiated_scores import differentiated_scores, require_scores
from adcc_onnx.graph.programs.endpoints import (
    add_output,
    add_target,
    class_scores,
    one_hot,
    prune_and_annotate,
)
from adcc_onnx.graph.programs.tensor_names import NAME_PREFIX


def expose(
    model: str | Path | onnx.ModelProto | Classifier,
    layers: Sequence[str] | None = None,
    scores: str = "logits",
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> onnx.ModelProto:
    """Differentiate a classifier: expose activations and gradients as ordinary outputs.

    Args:
        model: The path of an ONNX file, a model in memory, or a classifier.
        layers: The layers: names of tensors or nodes, or module paths that the exporter recorded;
            the default layer if None.
        scores: The scores to differentiate: "logits", "probabilities", "log-probabilities" or
            "rest" (see `differentiated_scores`).
        size: The (height, width) of the images in pixels; required only if the model does not
            fix it.
        scores_output: The name of the output with the class scores; found automatically if None.
        set_inputs: The values of inputs that become constants, by the input's name; other inputs
            than the image stay inputs.

    Returns:
        A model of standard operators, plus any custom operators of the original. Its inputs are the
        original inputs and `target` (int64 [batch]; -1 is the predicted class). Its outputs are
        the original outputs, then for every layer L, in the given order, `L.activation` and
        `L.gradient`: d score[n, target[n]] / d L, of the same shape as L, in float32 if the model
        has a lower precision.

    Raises:
        ModelError: The model cannot be used; the subclass says why.
        OptionError: `scores` is none of these.

    Example:
        >>> from adcc_onnx.drawings import classifier_path
        >>> exposed = expose(classifier_path())
        >>> [value.name for value in exposed.graph.input]
        ['image', 'target']
        >>> [value.name.rpartition(".")[2] for value in exposed.graph.output[-2:]]
        ['activation', 'gradient']
    """
    return to_proto(
        with_weights(expose_graph(model, layers, scores, size, scores_output, set_inputs))
    )


def expose_graph(
    model: str | Path | onnx.ModelProto | Classifier,
    layers: Sequence[str] | None = None,
    scores: str = "logits",
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> ir.Model:
    """Do what `expose` does, but leave large weights in their files until the model is saved."""
    require_scores(scores)
    classifier = open_classifier(model, size, scores_output, set_inputs)
    names = list(layers) if layers else [default_layer(classifier).name]
    values = [find_value(classifier.model, name) for name in names]
    builder = Builder(classifier.model.graph, NAME_PREFIX)
    score = differentiated_scores(class_scores(builder, classifier), classifier, scores)
    target = add_target(builder, classifier)
    found = gradients(builder, score.value, one_hot(score, target), values)
    for name, value, gradient in zip(names, values, found, strict=True):
        add_output(builder, builder.wrap(value), f"{name}.activation", dims_of(value))
        add_output(builder, gradient, f"{name}.gradient", dims_of(value))
    restore_own_input(classifier.model, classifier.image)
    return prune_and_annotate(classifier.model, names, scores)
