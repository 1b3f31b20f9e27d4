"""The inputs and outputs that all programs add to a classifier: scores, target, named outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import INT64, Builder, Tensor, dims_of
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.prune import prune

PREFIX = "adcc/"
TARGET = "target"


def class_scores(builder: Builder, classifier: Classifier, scores: str) -> Tensor:
    """The differentiated scores, [batch, classes], float32 (float64 in a model of that type)."""
    logits = builder.upcast(classifier.logits)
    if classifier.scores_kind == "probabilities" and classifier.logits is classifier.scores:
        # Probabilities with no softmax in the graph: their logarithm is as good a logit.
        logits = logits.op("Log")
    flat = logits
    if len(dims_of(classifier.logits) or ()) != 2:
        flat = logits.reshape([0, classifier.classes])
    if scores == "logits":
        return flat
    return flat.op("Sigmoid") if classifier.scores_kind == "sigmoid" else flat.op("Softmax", axis=1)


def add_target(builder: Builder, classifier: Classifier) -> Tensor:
    """The input `target`, int64 [batch]."""
    taken = [v for node in builder.graph for v in node.outputs if v.name == TARGET]
    if any(value.name == TARGET for value in builder.graph.inputs) or taken:
        raise ModelError(f"the model has a value of its own called '{TARGET}': rename it")
    batch = (dims_of(classifier.image) or (None,))[0]
    value = ir.val(TARGET, dtype=INT64, shape=[batch])
    builder.graph.inputs.append(value)
    return builder.wrap(value)


def one_hot(score: Tensor, target: Tensor) -> Tensor:
    """[batch, classes]: 1 at the target, at the highest score where the target is -1."""
    builder = score.builder
    predicted = score.op("ArgMax", axis=1, keepdims=0)
    chosen = builder.op("Where", target < 0, predicted, target)
    depth = score.op("Shape", start=1, end=2)
    switch = builder.constant(np.array([0, 1]), score.dtype)
    return builder.op("OneHot", chosen, depth, switch, axis=1)


def add_output(
    builder: Builder, tensor: Tensor, name: str, dims: Sequence[int | str | None] | None
) -> None:
    """Append a graph output of this name."""
    named = tensor.op("Identity")
    named.value.name = name
    named.value.shape = None if dims is None else ir.Shape(dims)
    builder.graph.outputs.append(named.value)


def finish_output(model: ir.Model, layers: Sequence[str], scores: str) -> ir.Model:
    """Drop what no output needs, and say in the model's metadata what was done to it."""
    prune(model)
    infer_shapes(model)
    model.metadata_props["adcc_onnx.layers"] = "\n".join(layers)
    model.metadata_props["adcc_onnx.scores"] = scores
    return model
