"""A model with the heatmap of a CAM method as a further output; it runs in any onnxruntime."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, INT64, Builder, Tensor
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.classifier.fixed_inputs import InputValues
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.image_input import restore_own_input
from adcc_onnx.graph.classifier.layers import Layer, read_layer
from adcc_onnx.graph.classifier.linear_head import require_linear_head
from adcc_onnx.graph.classifier.opening import open_classifier
from adcc_onnx.graph.programs.cam_graph import MapFormula
from adcc_onnx.graph.programs.differentiated_scores import differentiated_scores, require_scores
from adcc_onnx.graph.programs.endpoints import add_output, class_scores, one_hot, prune_and_annotate
from adcc_onnx.graph.programs.map_formulas import normalize_maps, to_feature_map, upsample_maps
from adcc_onnx.graph.programs.tensor_names import HEATMAP, NAME_PREFIX


def bake_maps(
    model: str | Path | onnx.ModelProto | Classifier,
    formula: MapFormula,
    needs_gradients: bool,
    layers: Sequence[str] | None = None,
    target: int | None = None,
    *,
    fuse: str = "mean",
    scores: str | None = None,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
    linear_head: bool = False,
) -> ir.Model:
    """Add the output `heatmap`, float32 [batch, H, W] in [0, 1], to a classifier.

    Args:
        model: The path of an ONNX file, a model in memory, or a classifier.
        formula: The formula of a raw map; its gradients are None unless `needs_gradients`.
        needs_gradients: Whether the formula reads gradients.
        layers: The names of the layers; the default layer if None.
        target: The index of the explained class; the predicted class if None.
        fuse: How maps of several layers are combined: by their "mean", "max" or "product".
        scores: The scores to differentiate, as for `expose`; those of the classifier if None.
        size: The (height, width) of the images in pixels; required only if the model does not
            fix it.
        scores_output: The name of the output with the class scores; found automatically if None.
        set_inputs: The values of inputs that become constants, by the input's name; other inputs
            than the image stay inputs.
        linear_head: Whether the formula holds only where global average pooling and a linear layer
            follow the layer, which is checked then.

    Returns:
        The model; large weights stay in their files until it is saved.

    Raises:
        ModelError: The model cannot be used; the subclass says why.
        OptionError: There is no class `target`, or no such kind of scores.

    Example:
        >>> from adcc_onnx.drawings import classifier_path
        >>> def mean_activation(activations, gradients):
        ...     return activations.mean([1], keepdims=False)
        >>> baked = bake_maps(classifier_path(), mean_activation, needs_gradients=False)
        >>> [output.name for output in baked.graph.outputs][-1]
        'heatmap'
    """
    classifier = open_classifier(model, size, scores_output, set_inputs)
    if target is not None:
        classifier.require_class(target)
    differentiated = classifier.differentiated if scores is None else scores
    require_scores(differentiated)
    chosen = [read_layer(classifier, name) for name in layers or ()]
    chosen = chosen or [default_layer(classifier)]
    for layer in chosen if linear_head else ():
        require_linear_head(classifier, layer)
    builder = Builder(classifier.model.graph, NAME_PREFIX)
    found: Sequence[Tensor | None] = [None] * len(chosen)
    if needs_gradients:
        found = _gradients(builder, classifier, chosen, target, differentiated)
    raw_maps = [
        _raw_map(builder, formula, layer, gradient)
        for layer, gradient in zip(chosen, found, strict=True)
    ]
    heatmap = _heatmap(builder, raw_maps, fuse, classifier.fixed_size)
    add_output(builder, heatmap, HEATMAP, (classifier.batch, *classifier.fixed_size))
    restore_own_input(classifier.model, classifier.image)
    return prune_and_annotate(classifier.model, [layer.name for layer in chosen], differentiated)


def _gradients(
    builder: Builder,
    classifier: Classifier,
    layers: Sequence[Layer],
    target: int | None,
    scores: str,
) -> list[Tensor]:
    """Append d y_c / d A of each layer; c is the target or the predicted class."""
    score = differentiated_scores(class_scores(builder, classifier), classifier, scores)
    index = builder.constant(np.array([-1 if target is None else target]), INT64)
    seed = one_hot(score, index.op("Expand", score.op("Shape", end=1)))
    return gradients(builder, score.value, seed, [layer.value for layer in layers])


def _raw_map(
    builder: Builder, formula: MapFormula, layer: Layer, gradient: Tensor | None
) -> Tensor:
    """Append the raw map [batch, h, w] of one layer."""
    activations = to_feature_map(builder.upcast(layer.value), layer).cast(FLOAT)
    if gradient is not None:
        gradient = to_feature_map(gradient, layer).cast(FLOAT)
    return formula(activations, gradient)


def _heatmap(
    builder: Builder, raw_maps: Sequence[Tensor], fuse: str, size: tuple[int, int]
) -> Tensor:
    """Append the heatmap [batch, H, W] of the raw maps of all layers."""
    maps = [
        upsample_maps(normalize_maps(raw_map), size).op("Squeeze", builder.ints(1))
        for raw_map in raw_maps
    ]
    if len(maps) == 1:
        return maps[0]
    if fuse == "product":
        return normalize_maps(functools.reduce(operator.mul, maps))
    return normalize_maps(builder.op("Max" if fuse == "max" else "Mean", *maps))
