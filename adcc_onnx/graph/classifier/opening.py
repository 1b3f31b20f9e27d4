"""Open a model as a classifier, and fix the size of its images."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError, OptionError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.fixed_inputs import InputValues, fix_inputs
from adcc_onnx.graph.classifier.image_classifier import Classifier, read_classifier
from adcc_onnx.graph.classifier.image_input import declare_image_shape
from adcc_onnx.graph.loading.reading import read_model, read_proto
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.passes.resolve_shapes import resolve_shapes


def open_classifier(
    model: str | Path | onnx.ModelProto | Classifier,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
    layout: str | None = None,
    scores_kind: str | None = None,
) -> Classifier:
    """Read and prepare a classifier, which may have inputs other than the image.

    Args:
        model: The path of an ONNX file, a model in memory, or a classifier, which is copied.
        size: The (height, width) of the images in pixels; required only if the model does not
            fix it.
        scores_output: The name of the output with the class scores; found automatically if None.
        set_inputs: The values of inputs that become constants, by the input's name.
        layout: The layout of the image input, "NCHW" or "NHWC"; inferred from its shape if None.
        scores_kind: The kind of scores (see `Classifier`); inferred from the graph if None.

    Raises:
        ModelError: The model cannot be used; the subclass says why.
        TypeError: `model` is of no such type.
    """
    if isinstance(model, Classifier):
        if set_inputs:
            raise OptionError("inputs of a loaded model are set when it is loaded")
        classifier = model.copy()
        if scores_output not in (None, model.scores.name):
            classifier = read_classifier(
                classifier.model, model.layout, scores_output=scores_output
            )
    else:
        source = read_source(model)
        classifier = read_open_source(source, size, scores_output, set_inputs, layout, scores_kind)
    if size is not None:
        fix_size(classifier, size)
    return classifier


def read_open_source(
    source: ir.Model,
    size: tuple[int, int] | None,
    scores_output: str | None,
    set_inputs: InputValues | None,
    layout: str | None = None,
    scores_kind: str | None = None,
) -> Classifier:
    """Read a model as a classifier that may have inputs other than the image.

    Args:
        source: The graph as it was read; changed in place.
        size: The (height, width) of the images in pixels, if it is given.
        scores_output: The name of the output with the class scores; found automatically if None.
        set_inputs: The values of inputs that become constants, by the input's name.
        layout: The layout of the image input; inferred from its shape if None.
        scores_kind: The kind of scores; inferred from the graph if None.

    Raises:
        ModelError: The model cannot be used; the subclass says why.
    """
    fix_inputs(source, set_inputs or {})
    declare_image_shape(source, size, layout)
    return read_classifier(
        prepare(source), layout, scores_kind, scores_output, size=size, other_inputs=True
    )


def read_source(model: str | Path | onnx.ModelProto) -> ir.Model:
    """Read the graph of a model as it is.

    Args:
        model: The path of an ONNX file, or a model in memory.

    Raises:
        ModelError: The model is malformed.
        TypeError: `model` is neither a path nor an `onnx.ModelProto`.
    """
    if isinstance(model, onnx.ModelProto):
        return read_proto(model)
    if isinstance(model, str | Path):
        return read_model(model)
    raise TypeError(f"model must be a path or an onnx.ModelProto, not {type(model).__name__}")


def fix_size(classifier: Classifier, size: tuple[int, int]) -> None:
    """Fix the spatial size of the image input, in place.

    Args:
        classifier: The classifier; its shapes are inferred again.
        size: The (height, width) of the images in pixels.

    Raises:
        ModelError: The model already fixes another size.
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
