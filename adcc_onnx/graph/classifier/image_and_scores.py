"""Find the image input, the class scores output and the logits of a graph."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from adcc_onnx.errors import NoClassScoresError, NoImageInputError, did_you_mean
from adcc_onnx.graph.autodiff.builder import dims_of

# Operators that change the shape or the element type of the scores, but not the scores.
_PASS_THROUGH = {
    "Cast",
    "DequantizeLinear",
    "Dropout",
    "Flatten",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
_KINDS = {"Softmax": "probabilities", "LogSoftmax": "log-probabilities", "Sigmoid": "sigmoid"}
_IMAGE_TYPES = {
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
    ir.DataType.UINT8,
}
_SCORE_TYPES = _IMAGE_TYPES - {ir.DataType.UINT8}
_COLOR_CHANNELS = (3, 1, 4)
_SCORE_WORDS = ("logit", "prob", "score", "class", "softmax", "pred")


def find_image_input(model: ir.Model) -> ir.Value:
    """Find the input that takes the images.

    Raises:
        NoImageInputError: The model has no such input, or has further inputs.
    """
    inputs = list(model.graph.inputs)
    images = [v for v in inputs if len(dims_of(v) or ()) == 4 and v.dtype in _IMAGE_TYPES]
    if len(images) == 1 and len(inputs) == 1:
        return images[0]
    raise NoImageInputError(
        "the model must have one input of rank 4, [batch, channels, height, width] or "
        f"[batch, height, width, channels]; its inputs are {_describe(inputs)}"
    )


def image_layout(image: ir.Value) -> str:
    """Infer the layout of the image input, "NCHW" or "NHWC".

    The axis whose size can be a number of color channels decides. If both or neither can be, a
    Transpose of the input to channels-first decides.
    """
    dims = dims_of(image) or ()
    first, last = dims[1] in _COLOR_CHANNELS, dims[3] in _COLOR_CHANNELS
    if first != last:
        return "NCHW" if first else "NHWC"
    to_channels_first = any(
        node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == [0, 3, 1, 2]
        for node in image.consumers()
        if "perm" in node.attributes
    )
    return "NHWC" if to_channels_first else "NCHW"


def find_scores_output(model: ir.Model, name: str | None = None) -> ir.Value:
    """Find the output with the class scores.

    Args:
        model: The prepared model.
        name: The name of the output; if None, the output that is most likely to hold scores.

    Raises:
        NoClassScoresError: There is no such output, or it does not have the shape of scores.
    """
    outputs = list(model.graph.outputs)
    candidates = [v for v in outputs if v.dtype in _SCORE_TYPES and (class_count(v) or 0) > 1]
    named = [value for value in candidates if value.name == name]
    if named or (candidates and name is None):
        return max(named or candidates, key=_score_evidence)
    if any(value.name == name for value in outputs):
        problem = f"output '{name}' does not hold class scores of shape [batch, classes]"
    elif name is not None:
        known = [value.name or "" for value in outputs]
        problem = f"the model has no output '{name}'{did_you_mean(name, known)}"
    else:
        problem = "no output of the model holds class scores of shape [batch, classes]"
    raise NoClassScoresError(f"{problem}; its outputs are {_describe(outputs)}")


def class_count(scores: ir.Value) -> int | None:
    """Return the number of classes of an output [batch, classes]; None for any other shape.

    Further axes of size 1 are allowed.
    """
    wide = [size for size in (dims_of(scores) or ())[1:] if size != 1]
    return wide[0] if len(wide) == 1 and isinstance(wide[0], int) else None


def find_logits(scores: ir.Value) -> tuple[str, ir.Value]:
    """Find the value before a final softmax, sigmoid or quantization.

    The quantization of the scores is skipped, because it may saturate at the highest score and
    stop its gradient.

    Returns:
        The kind of the scores (see `Classifier.scores_kind`), and the logits.
    """
    value, logits = scores, scores
    while (node := value.producer()) is not None and node.domain == "" and node.inputs[0]:
        if node.op_type in _KINDS:
            return _KINDS[node.op_type], node.inputs[0]
        if node.op_type not in _PASS_THROUGH:
            break
        value = node.inputs[0]
        if node.op_type == "QuantizeLinear":
            logits = value
    return "logits", logits


def _score_evidence(output: ir.Value) -> tuple[bool, bool]:
    """Whether an output ends in a softmax or sigmoid, and whether its name suggests scores."""
    name = (output.name or "").lower()
    return find_logits(output)[0] != "logits", any(word in name for word in _SCORE_WORDS)


def _describe(values: Iterable[ir.Value]) -> str:
    """Describe values in an error message, as in ``'x' float [batch, 3, 224, 224]``."""
    described = []
    for value in values:
        dims = dims_of(value)
        shape = "of unknown shape" if dims is None else str([d or "?" for d in dims])
        kind = value.dtype.name.lower() if value.dtype is not None else "unknown"
        described.append(f"'{value.name}' {kind} {shape}".replace("'?'", "?"))
    return ", ".join(described) or "none"
