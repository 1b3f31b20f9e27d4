"""A model with a method's heatmap as one more output: nothing of ours is needed to run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, INT64, Builder, Tensor, dims_of
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.layers import Layer, default_layer, read_layer
from adcc_onnx.graph.classifier.opening import open_classifier
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.programs.cam_graph import MapFormula
from adcc_onnx.graph.programs.endpoints import (
    PREFIX,
    add_output,
    class_scores,
    finish_output,
    one_hot,
)
from adcc_onnx.graph.programs.instrument import fold, image_size, upsample

HEATMAP = "heatmap"


def bake_maps(
    model: str | Path | onnx.ModelProto,
    formula: MapFormula,
    needs_gradients: bool,
    layers: Sequence[str] | None = None,
    target: int | None = None,
    *,
    fuse: str = "mean",
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> ir.Model:
    """The model with the output `heatmap`, float32 [batch, H, W] in [0, 1]; see `api.bake`."""
    classifier = open_classifier(model, size, output)
    if target is not None:
        classifier.require_class(target)
    chosen = [read_layer(classifier, name) for name in layers or ()]
    chosen = chosen or [default_layer(classifier)]
    builder = Builder(classifier.model.graph, PREFIX)
    found: Sequence[Tensor | None] = [None] * len(chosen)
    if needs_gradients:
        found = _gradients(builder, classifier, chosen, target)
    maps = []
    for layer, gradient in zip(chosen, found, strict=True):
        activations = fold(builder.upcast(layer.value), layer).cast(FLOAT)
        folded = None if gradient is None else fold(gradient, layer).cast(FLOAT)
        low = normalize(formula(activations, folded))
        maps.append(upsample(low, image_size(classifier)).op("Squeeze", builder.ints(1)))
    heatmap = maps[0] if len(maps) == 1 else normalize(_fused(builder, maps, fuse))
    batch = (dims_of(classifier.image) or (None,))[0]
    add_output(builder, heatmap, HEATMAP, (batch, *image_size(classifier)))
    return finish_output(classifier.model, [layer.name for layer in chosen], "logits")


def normalize(maps: Tensor) -> Tensor:
    """(S - min) / (max - min) of each map [N, h, w]; zeros where it is constant."""
    axes = maps.builder.ints([1, 2])
    low = maps.op("ReduceMin", axes, keepdims=1)
    spread = maps.op("ReduceMax", axes, keepdims=1) - low
    return (spread > 0.0).where((maps - low) / spread, 0.0)


def _gradients(
    builder: Builder, classifier: Classifier, layers: Sequence[Layer], target: int | None
) -> list[Tensor]:
    """d y_c / d A of each layer, c the target or the predicted class."""
    score = class_scores(builder, classifier, "logits")
    asked = builder.constant(np.array([-1 if target is None else target]), INT64)
    seed = one_hot(score, asked.op("Expand", score.op("Shape", end=1)))
    return gradients(builder, score.value, seed, [layer.value for layer in layers])


def _fused(builder: Builder, maps: Sequence[Tensor], fuse: str) -> Tensor:
    return builder.op("Max" if fuse == "max" else "Mean", *maps)
