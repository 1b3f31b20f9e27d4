"""Check that an exported file gives the framework's scores, and its card the same tensors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import AdccWarning, ModelError, first_line
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model, load
from adcc_onnx.runtime.devices import CPU_PROVIDER
from adcc_onnx.runtime.onnxruntime_import import onnxruntime

# Largest difference of two scores, relative to the largest score of the batch.
TOLERANCE = 1e-4
# Largest difference of two pixel values of 0..255: libraries round resized pixels differently.
_PIXEL_TOLERANCE = 2.0
_BATCH, _SEED = 2, 0
_PHOTO = (300, 400)  # height and width of the image on which two preprocessings are compared


def check_export(path: Path, exported: ExportedNetwork) -> None:
    """Evaluate one batch in the framework and in onnxruntime, and compare the scores.

    Args:
        path: The ONNX file, with its card next to it.
        exported: What the recipe returned.

    Raises:
        ModelError: The scores differ, or the model or its card cannot be read.

    Warns:
        AdccWarning: The card's preprocessing differs from that of the framework.
    """
    model = load(path, device="cpu")
    images = exported.images
    if images is None:
        images = _random_batch(model)
    found = _onnx_scores(path, images, exported.output)
    wanted = np.asarray(exported.scores(images))
    if found.shape != wanted.shape or not np.isfinite(found).all():
        raise ModelError(
            f"the exported model gives scores of the shape {list(found.shape)}, the framework of "
            f"{list(wanted.shape)}, or they are not finite: nothing was written"
        )
    largest = float(np.abs(wanted).max())
    difference = float(np.abs(found - wanted).max())
    if difference > TOLERANCE * largest:
        raise ModelError(
            f"the exported model differs from the framework by {difference:.2g} on a random batch, "
            f"where the largest score is {largest:.2g}: nothing was written; another version of "
            "the exporter may help"
        )
    _compare_preprocessing(model, exported)


def _random_batch(model: Model) -> Float32Array:
    """Return random pixels, preprocessed as the card says, in the layout of the ONNX file."""
    classifier, rng = model.classifier, np.random.default_rng(_SEED)
    count = _BATCH if model.any_batch else model.batch
    shape = (count, *model.size)
    steps = model.preprocessing
    if steps is None or steps.channels == "bands":
        return rng.random((count, classifier.channels, *model.size)).astype(np.float32)
    images = [
        steps.normalize(rng.integers(0, 256, (*shape[1:], 3), np.uint8)) for _ in range(count)
    ]
    return _in_layout(np.stack(images), classifier.layout)


def _in_layout(images: Float32Array, layout: str) -> Float32Array:
    """Convert a batch [N, C, H, W] to the layout of a model's input."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if layout == "NHWC" else images


def _onnx_scores(path: Path, images: Float32Array, output: str | None) -> NDArray[Any]:
    """Run the file itself in onnxruntime, without its graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[CPU_PROVIDER])
        (image, *_) = session.get_inputs()
        name = output or session.get_outputs()[0].name
        shape = [side if isinstance(side, int) else -1 for side in image.shape]
        if len(shape) == 2:  # flattened pixels
            images = images.reshape(len(images), -1)
        (scores,) = session.run([name], {image.name: images})
    except Exception as error:  # onnxruntime's errors have no common public type
        raise ModelError(
            f"onnxruntime cannot run the exported model: {first_line(error)}"
        ) from error
    found: NDArray[Any] = scores
    return found


def _compare_preprocessing(model: Model, exported: ExportedNetwork) -> None:
    """Warn if the card gives other pixels than the framework's own preprocessing."""
    steps = model.preprocessing
    if exported.preprocess is None or steps is None:
        return
    image = _smooth_image()
    ours = _in_layout(steps(np.asarray(image))[None], model.classifier.layout)[0]
    theirs = np.asarray(exported.preprocess(image))
    if ours.shape != theirs.shape:
        difference = "images of another size"
    else:
        pixels = float(np.abs(ours - theirs).max()) * _pixels_per_unit(steps)
        difference = f"pixels that differ by up to {pixels:.0f} of 255"
        if pixels <= _PIXEL_TOLERANCE:
            return
    warnings.warn(
        f"the framework's preprocessing gives {difference}: a card cannot describe it exactly, so "
        "scores on photos may differ from the framework's",
        AdccWarning,
        stacklevel=3,
    )


def _smooth_image() -> Image.Image:
    """Return an image with edges and gradients, whose sides differ."""
    height, width = _PHOTO
    rng = np.random.default_rng(_SEED)
    coarse = rng.integers(0, 256, (height // 20, width // 20, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _pixels_per_unit(steps: Preprocessing) -> float:
    """Return how many pixel values 0..255 one unit of the normalized tensor is at most."""
    return abs(steps.scale) * max(abs(value) for value in steps.std)
