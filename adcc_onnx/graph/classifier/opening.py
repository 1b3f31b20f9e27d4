"""Read a model as a classifier, and fix the size of its images."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.scores import Classifier, read_classifier
from adcc_onnx.graph.loading.reading import read_model, read_proto
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.passes.resolve_shapes import resolve_shapes


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
