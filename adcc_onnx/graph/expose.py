"""A model that gives its scores, its layers' activations and their gradients in one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError, OptionError
from adcc_onnx.graph.build import INT64, Builder, Tensor, dims_of
from adcc_onnx.graph.classifier import Classifier, read_classifier
from adcc_onnx.graph.gradient import gradients
from adcc_onnx.graph.layers import default_layer, find_value
from adcc_onnx.graph.loading import infer_shapes, prepare, read_model, read_proto, to_proto
from adcc_onnx.graph.prune import prune
from adcc_onnx.graph.resolve import resolve_shapes

PREFIX = "adcc/"
TARGET = "target"
_MOST_IN_ONE_FILE = 2**31 - 2**24  # bytes of weights: protobuf ends at 2 GiB, the graph needs some


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


def open_classifier(
    model: str | Path | onnx.ModelProto, size: tuple[int, int] | None, output: str | None
) -> Classifier:
    """Read and prepare a classifier, its image size fixed if `size` is given.

    Raises:
        ModelError: its subclasses say what the model lacks.
    """
    source = read_proto(model) if isinstance(model, onnx.ModelProto) else read_model(model)
    classifier = read_classifier(prepare(source), output=output)
    if size is not None:
        fix_size(classifier, size)
    return classifier


def finish_output(model: ir.Model, layers: Sequence[str], scores: str) -> ir.Model:
    """Drop what no output needs, and say in the model's metadata what was done to it."""
    prune(model)
    infer_shapes(model)
    model.metadata_props["adcc_onnx.layers"] = "\n".join(layers)
    model.metadata_props["adcc_onnx.scores"] = scores
    return model


def with_weights(model: ir.Model) -> ir.Model:
    """The model with all its weights in memory."""
    ir.external_data.load_to_model(model)
    return model


def save(model: onnx.ModelProto | ir.Model, path: str | Path) -> None:
    """Write a model; weights of 2 GiB and more go to a file `NAME.data` beside it.

    Raises:
        ModelError: the file cannot be written.
    """
    graph = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model
    path = Path(path)
    size = sum(v.const_value.nbytes for v in graph.graph.initializers.values() if v.const_value)
    try:
        if size < _MOST_IN_ONE_FILE:
            ir.save(with_weights(graph), path)
        else:
            ir.save(graph, path, external_data=f"{path.name}.data")
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error


def fix_size(classifier: Classifier, size: tuple[int, int]) -> None:
    """Fix the spatial size of the image input, in place.

    Raises:
        ModelError: the model is fixed to another size.
    """
    image, first = classifier.image, 2 if classifier.layout == "NCHW" else 1
    dims = list(dims_of(image) or ())
    for axis, pixels in zip((first, first + 1), size, strict=True):
        fixed = dims[axis]
        if isinstance(fixed, int) and fixed != pixels:
            own = " x ".join(str(d) for d in dims[first : first + 2])
            raise ModelError(
                f"the model takes images of {own} pixels, not of {size[0]} x {size[1]}"
            )
        dims[axis] = pixels
    if tuple(dims) != dims_of(image):
        image.shape = ir.Shape(dims)
        infer_shapes(classifier.model)
        resolve_shapes(classifier.model, image)


def class_scores(builder: Builder, classifier: Classifier, scores: str) -> Tensor:
    """The differentiated scores, [batch, classes], float32 (float64 in a model of that type)."""
    logits = builder.widened(classifier.logits)
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
