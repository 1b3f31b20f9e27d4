"""The inputs and outputs that graphs built from a classifier have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import FLOAT, INT64, Builder, Dim, Tensor, dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.prune import prune
from adcc_onnx.graph.programs.tensor_names import IMAGE, TARGET

# The name, the value and the shape of an output; the shape is None if it is unknown.
Output = tuple[str, Tensor, Sequence[Dim] | None]
_SMALLEST_PROBABILITY = 1e-30


def image_input(classifier: Classifier, batch: Dim = None) -> ir.Value:
    """Create the input `image`, float32 [batch, C, H, W], for any layout and type of the model.

    Args:
        classifier: The classifier; its image size must be fixed.
        batch: The batch dimension; that of the classifier if None.
    """
    dims = [batch or classifier.batch, classifier.channels, *classifier.fixed_size]
    return ir.val(IMAGE, dtype=FLOAT, shape=dims)


def connect_image(builder: Builder, classifier: Classifier, images: Tensor) -> None:
    """Let the classifier read `images` instead of its own input.

    Args:
        builder: Appends the conversion to the layout and the type of the classifier's input.
        classifier: The classifier.
        images: The images, float32 [batch, C, H, W].
    """
    own = classifier.image
    adapted = images if classifier.layout == "NCHW" else images.transpose([0, 2, 3, 1])
    if own.dtype == ir.DataType.UINT8:
        # Masked pixels are not integers: a Cast to float32 in the model can take them unrounded.
        for node in own.consumers():
            if node.op_type == "Cast" and node.outputs[0].dtype == FLOAT:
                node.outputs[0].replace_all_uses_with(adapted.value)
        adapted = adapted.op("Round")
    own.replace_all_uses_with(adapted.cast(own.dtype or FLOAT).value)


def add_target(builder: Builder, classifier: Classifier) -> Tensor:
    """Add the input `target`, int64 [batch], to the graph.

    Raises:
        ModelError: The model itself has a value of this name.
    """
    taken = [v for node in builder.graph for v in node.outputs if v.name == TARGET]
    if any(value.name == TARGET for value in builder.graph.inputs) or taken:
        raise ModelError(f"the model already has a value named '{TARGET}': rename it")
    value = ir.val(TARGET, dtype=INT64, shape=[classifier.batch])
    builder.graph.inputs.append(value)
    return builder.wrap(value)


def class_scores(builder: Builder, classifier: Classifier) -> Tensor:
    """Return the logits, [batch, classes].

    They are float32, or float64 in a float64 model.

    Args:
        builder: Appends what is needed to compute them.
        classifier: The classifier.
    """
    logits = builder.upcast(classifier.logits)
    if classifier.holds_probabilities:
        # The graph has probabilities but no softmax: their logarithm serves as logits.
        logits = _log_odds(logits) if classifier.binary else _log(logits)
    flat = logits
    if len(dims_of(classifier.logits) or ()) != 2:
        flat = logits.reshape([-1, 1] if classifier.binary else [0, classifier.classes])
    if classifier.binary:
        flat = builder.op("Concat", -flat, flat, axis=1)
    return flat


def _log_odds(probability: Tensor) -> Tensor:
    """log(p / (1 - p))."""
    return _log(probability) - _log(1.0 - probability)


def _log(probability: Tensor) -> Tensor:
    """log(p), finite where p is 0, as trees give it."""
    smallest = probability.builder.constant(_SMALLEST_PROBABILITY, probability.dtype)
    return probability.op("Max", smallest).op("Log")


def one_hot(score: Tensor, target: Tensor) -> Tensor:
    """Encode the targets as one-hot rows [batch, classes].

    Args:
        score: The scores [batch, classes].
        target: The class indices [batch]; -1 is the class with the highest score.
    """
    builder = score.builder
    predicted = score.op("ArgMax", axis=1, keepdims=0)
    classes = builder.op("Where", target < 0, predicted, target)
    depth = score.op("Shape", start=1, end=2)
    off_on = builder.constant(np.array([0, 1]), score.dtype)
    return builder.op("OneHot", classes, depth, off_on, axis=1)


def add_output(builder: Builder, tensor: Tensor, name: str, dims: Sequence[Dim] | None) -> None:
    """Append an output of the given name and shape to the graph."""
    named = tensor.op("Identity")
    named.value.name = name
    named.value.shape = None if dims is None else ir.Shape(dims)
    builder.graph.outputs.append(named.value)


def set_endpoints(
    builder: Builder, model: ir.Model, inputs: Sequence[ir.Value], outputs: Sequence[Output]
) -> ir.Model:
    """Give a model exactly these inputs and outputs, and prune it.

    Args:
        builder: The builder of the model's graph.
        model: The model, changed in place.
        inputs: The inputs.
        outputs: The outputs.

    Returns:
        The model.
    """
    graph = builder.graph
    graph.outputs.clear()
    for name, tensor, dims in outputs:
        add_output(builder, tensor, name, dims)
    graph.inputs.clear()
    graph.inputs.extend(inputs)
    graph.sort()
    prune(model)
    return model


def prune_and_annotate(model: ir.Model, layers: Sequence[str], scores: str) -> ir.Model:
    """Prune a model and record in its metadata how its outputs were made.

    Args:
        model: The model, changed in place.
        layers: The names of the layers.
        scores: The kind of the differentiated scores.

    Returns:
        The model.
    """
    prune(model)
    infer_shapes(model)
    model.metadata_props["adcc_onnx.layers"] = "\n".join(layers)
    model.metadata_props["adcc_onnx.scores"] = scores
    return model
