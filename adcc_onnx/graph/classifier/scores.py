"""A graph read as an image classifier: where the image enters and where the class scores leave."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from adcc_onnx.errors import NoClassScoresError, NoImageInputError, OptionError, did_you_mean
from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.passes.resolve_shapes import resolve_shapes

# Operators that move scores about without changing them.
_CARRIERS = {
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
_FLOATS = _IMAGE_TYPES - {ir.DataType.UINT8}
_COLORS = (3, 1, 4)
_SCORE_WORDS = ("logit", "prob", "score", "class", "softmax", "pred")


@dataclass(frozen=True)
class Classifier:
    """An ONNX image classifier.

    Attributes:
        model: the prepared model that the values belong to.
        image: the input that takes the images, of rank 4.
        layout: "NCHW" or "NHWC".
        scores: the model's own output with one score a class.
        scores_kind: "logits", "probabilities", "log-probabilities" or "sigmoid".
        logits: the value the scores are a softmax (or sigmoid, or quantization) of; the scores
            where they are none.
        classes: how many classes there are.
    """

    model: ir.Model
    image: ir.Value
    layout: str
    scores: ir.Value
    scores_kind: str
    logits: ir.Value
    classes: int

    def require_class(self, index: int) -> None:
        """Raise OptionError unless there is a class of this number."""
        if not 0 <= index < self.classes:
            raise OptionError(
                f"there is no class {index}: the model has {self.classes} classes, numbered from 0"
            )

    @property
    def channels(self) -> int:
        """Color channels of the image."""
        return _fixed(dims_of(self.image), 1 if self.layout == "NCHW" else 3) or 3

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the input where the model fixes it."""
        dims = dims_of(self.image)
        first = 2 if self.layout == "NCHW" else 1
        height, width = _fixed(dims, first), _fixed(dims, first + 1)
        return None if height is None or width is None else (height, width)


def read_classifier(
    model: ir.Model,
    layout: str | None = None,
    scores_kind: str | None = None,
    output: str | None = None,
) -> Classifier:
    """Find the image input and the class scores of a prepared model.

    Args:
        model: as `prepare` returns it.
        layout: "NCHW" or "NHWC" where a card says so; else told from the shapes.
        scores_kind: what a card says of the scores; else told from the graph's end.
        output: the name of the output with the class scores, where it is not to be found by itself.

    Raises:
        NoImageInputError, NoClassScoresError: naming what the model has instead.
    """
    image = image_of(model)
    resolve_shapes(model, image)
    scores = _score_output(model, output)
    kind, logits = _logits_of(scores)
    dims = dims_of(scores) or ()
    return Classifier(
        model,
        image,
        layout or _layout_of(image),
        scores,
        scores_kind or kind,
        logits,
        _classes(dims) or 0,
    )


def image_of(model: ir.Model) -> ir.Value:
    """The input that takes the images.

    Raises:
        NoImageInputError: none does, or there are others to be fed.
    """
    inputs = list(model.graph.inputs)
    images = [v for v in inputs if len(dims_of(v) or ()) == 4 and v.dtype in _IMAGE_TYPES]
    if len(images) == 1 and len(inputs) == 1:
        return images[0]
    wanted = (
        "one input of rank 4, [batch, channels, height, width] or [batch, height, width, channels]"
    )
    raise NoImageInputError(f"the model must have {wanted}; it has {_listing(inputs)}")


def _score_output(model: ir.Model, name: str | None) -> ir.Value:
    """The output of that name, else the one that looks most like class scores."""
    outputs = list(model.graph.outputs)
    rows = [v for v in outputs if v.dtype in _FLOATS and (_classes(dims_of(v) or ()) or 0) > 1]
    named = [value for value in rows if value.name == name]
    if named or (rows and name is None):
        return max(named or rows, key=_likeness)
    if any(value.name == name for value in outputs):
        raise NoClassScoresError(
            f"output '{name}' is no row of class scores, [batch, classes]; "
            f"the model has {_listing(outputs)}"
        )
    if name is not None:
        known = [value.name or "" for value in outputs]
        raise NoClassScoresError(
            f"the model has no output '{name}'{did_you_mean(name, known)}; "
            f"it has {_listing(outputs)}"
        )
    raise NoClassScoresError(
        "no output of the model is a row of class scores, [batch, classes]; "
        f"it has {_listing(outputs)}"
    )


def _likeness(scores: ir.Value) -> tuple[bool, bool]:
    """Ends in a softmax or sigmoid; is called like scores. Of equals, the first is taken."""
    called = (scores.name or "").lower()
    return _logits_of(scores)[0] != "logits", any(word in called for word in _SCORE_WORDS)


def _classes(dims: tuple[Dim, ...]) -> int | None:
    """Classes of an output [batch, classes], perhaps with further axes of size 1."""
    wide = [d for d in dims[1:] if d != 1]
    return wide[0] if len(wide) == 1 and isinstance(wide[0], int) else None


def _logits_of(scores: ir.Value) -> tuple[str, ir.Value]:
    """The kind of the scores, and the value before a final softmax, sigmoid or quantization.

    A quantization of the scores may saturate at the highest one, and hide its gradient.
    """
    value, logits = scores, scores
    while (node := value.producer()) is not None and node.domain == "" and node.inputs[0]:
        if node.op_type in _KINDS:
            return _KINDS[node.op_type], node.inputs[0]
        if node.op_type not in _CARRIERS:
            break
        value = node.inputs[0]
        if node.op_type == "QuantizeLinear":
            logits = value
    return "logits", logits


def _layout_of(image: ir.Value) -> str:
    """By the axis that can be a color; where both or none can, by the first Transpose."""
    dims = dims_of(image) or ()
    first, last = dims[1] in _COLORS, dims[3] in _COLORS
    if first != last:
        return "NCHW" if first else "NHWC"
    to_channels_first = any(
        node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == [0, 3, 1, 2]
        for node in image.consumers()
        if "perm" in node.attributes
    )
    return "NHWC" if to_channels_first else "NCHW"


def _fixed(dims: tuple[Dim, ...] | None, axis: int) -> int | None:
    size = None if dims is None else dims[axis]
    return size if isinstance(size, int) else None


def _listing(values: list[ir.Value]) -> str:
    """``'x' float32 [batch, 3, 224, 224]`` of each value, for an error."""
    described = []
    for value in values:
        dims = dims_of(value)
        shape = "of unknown shape" if dims is None else str([d or "?" for d in dims])
        kind = value.dtype.name.lower() if value.dtype is not None else "unknown"
        described.append(f"'{value.name}' {kind} {shape}".replace("'?'", "?"))
    return ", ".join(described) or "none"
