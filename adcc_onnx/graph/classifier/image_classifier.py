"""An ONNX graph read as an image classifier: its image input, class scores and logits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from adcc_onnx.errors import ModelError, NoImageInputError, OptionError
from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.image_input import find_image_input, image_layout
from adcc_onnx.graph.classifier.score_head import find_score_head
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.resolve_shapes import resolve_shapes


@dataclass(frozen=True)
class Classifier:
    """An ONNX image classifier.

    Attributes:
        model: The prepared model that all values below belong to.
        image: The model input that takes the images, of rank 4; see `image_input` for models whose
            own input has another rank.
        layout: The layout of the image input, "NCHW" or "NHWC".
        scores: The value with one score per class (one score for both classes of a binary model):
            an output, or what a TopK or ArgMax at the end takes.
        scores_kind: The kind of scores: "logits", "probabilities", "log-probabilities" or
            "sigmoid".
        logits: The value before the final softmax, sigmoid or quantization; `scores` itself if
            there is none.
        classes: The number of classes; 2 for a binary model.
        binary: Whether `logits` is one score z for two classes: z for class 1, -z for class 0.
        scores_reason: Why these scores were chosen; empty if there was no choice.
        holds_probabilities: Whether `logits` holds probabilities, whose logarithm (the log-odds of
            a binary model) serves as logits: the card says so, and the graph has no softmax.
        differentiated: The scores that gradients refer to: "logits", "probabilities",
            "log-probabilities" or "rest" (see `graph.programs.differentiated_scores`).
    """

    model: ir.Model
    image: ir.Value
    layout: str
    scores: ir.Value
    scores_kind: str
    logits: ir.Value
    classes: int
    binary: bool = False
    scores_reason: str = ""
    holds_probabilities: bool = False
    differentiated: str = "logits"

    @property
    def channels(self) -> int:
        """The number of color channels of the image input; 3 if the model leaves it open."""
        return self._image_dim(1 if self.layout == "NCHW" else 3) or 3

    @property
    def size(self) -> tuple[int, int] | None:
        """The input size (H, W) in pixels; None if the model does not fix it."""
        first = 2 if self.layout == "NCHW" else 1
        height, width = self._image_dim(first), self._image_dim(first + 1)
        return None if height is None or width is None else (height, width)

    @property
    def fixed_size(self) -> tuple[int, int]:
        """The input size (H, W) in pixels.

        Raises:
            ModelError: The image size is not fixed.
        """
        if self.size is None:
            raise ModelError("the model does not fix the image size; give --size HxW")
        return self.size

    @property
    def batch(self) -> Dim:
        """The batch dimension: its fixed size, its name, or None if it has neither."""
        return (dims_of(self.image) or (None,))[0]

    def forward_nodes(self) -> list[ir.Node]:
        """Return the nodes between the image and the logits, in topological order."""
        return path_nodes([self.logits], [self.image])

    def require_class(self, index: int) -> None:
        """Check that a class index exists.

        Args:
            index: The class index, from 0.

        Raises:
            OptionError: The index is negative, or not smaller than the number of classes.
        """
        if not 0 <= index < self.classes:
            raise OptionError(
                f"there is no class {index}: the model has {self.classes} classes, numbered from 0"
            )

    def copy(self) -> Classifier:
        """Return the classifier with a copy of its graph; the weights are shared."""
        return self.on(self.model.clone())

    def on(self, model: ir.Model) -> Classifier:
        """Return the classifier on another graph.

        Args:
            model: A graph with the same tensor names.
        """
        values = values_by_name(model)
        image, scores, logits = (values[v.name] for v in (self.image, self.scores, self.logits))
        return replace(self, model=model, image=image, scores=scores, logits=logits)

    def _image_dim(self, axis: int) -> int | None:
        dims = dims_of(self.image)
        size = None if dims is None else dims[axis]
        return size if isinstance(size, int) else None


def values_by_name(model: ir.Model) -> dict[str | None, ir.Value]:
    """Return the inputs of a graph, and the tensors that its nodes compute, by their names."""
    values = {value.name: value for node in model.graph for value in node.outputs}
    return values | {value.name: value for value in model.graph.inputs}


def read_classifier(
    model: ir.Model,
    layout: str | None = None,
    scores_kind: str | None = None,
    scores_output: str | None = None,
    *,
    size: tuple[int, int] | None = None,
    other_inputs: bool = False,
) -> Classifier:
    """Find the image input and the class scores of a prepared model.

    Args:
        model: The model as `prepare` returns it.
        layout: The layout of the image input, "NCHW" or "NHWC"; inferred from its shape if None.
        scores_kind: The kind of scores (see `Classifier`); inferred from the graph if None.
        scores_output: The name of the output with the class scores; found automatically if None.
        size: The (height, width) of the images in pixels, for inputs of flattened pixels.
        other_inputs: Whether the model may have inputs other than the image.

    Returns:
        The classifier; it shares the model's values.

    Raises:
        NoImageInputError: The model does not have exactly one input, of the shape of images.
        NoClassScoresError: No output, or not the named one, has the shape of class scores.
    """
    image = find_image_input(model, size, layout, other_inputs)
    if 0 in (dims_of(image) or ())[1:]:
        raise NoImageInputError(f"the image input '{image.name}' has no pixels: a size of it is 0")
    _infer_rows(model, image)
    resolve_shapes(model, image)
    head = find_score_head(model, image, scores_output)
    kind = scores_kind or head.kind
    return Classifier(
        model,
        image,
        layout or image_layout(image),
        head.scores,
        "sigmoid" if head.binary else kind,
        head.logits,
        head.classes,
        head.binary,
        head.reason,
        kind == "probabilities" and head.logits is head.scores,
    )


def _infer_rows(model: ir.Model, image: ir.Value) -> None:
    """Infer all shapes again if an output declares a number of rows, but the image does not.

    Some converters (those of Core ML models) declare one row of scores for any number of images.
    """
    if isinstance((dims_of(image) or (None,))[0], int):
        return
    if any(isinstance((dims_of(output) or (None,))[0], int) for output in model.graph.outputs):
        for node in model.graph:
            for value in node.outputs:
                value.shape = None
        infer_shapes(model)
