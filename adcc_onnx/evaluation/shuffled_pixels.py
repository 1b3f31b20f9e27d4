"""Whether the scores of a model depend on what its images show, or only on their colors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adcc_onnx.errors import ImageError
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.explanation.samples import batches, samples
from adcc_onnx.images.sources.image_source import Source, select_images
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.kernels.similarity import pearson
from adcc_onnx.model import Model


def similarity_after_shuffling(model: Model, source: Source, positions: Sequence[int]) -> float:
    """Run a model on images and on the same pixels in random order, and compare the scores.

    Args:
        model: The model.
        source: The images.
        positions: Positions of images that the model was run on before, increasing.

    Returns:
        The median over the images of Pearson's r of the two logits over the classes, in [-1, 1];
        r is -1 for equal logits of all classes.

    Raises:
        ImageError: An image cannot be read any more.
        OutOfMemoryError: The device has too little memory left.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> from adcc_onnx.images.sources.open_images import open_source
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> similarity_after_shuffling(model, open_source("drawings:8"), range(8)) < 0.8
        True
    """
    rng = np.random.default_rng(0)
    found: list[Float64Array] = []
    for group in batches(samples(select_images(source, positions), model), model.batch):
        tensors = [sample.tensor for sample in group if sample.tensor is not None]
        if len(tensors) < len(group):
            raise ImageError("an image cannot be read any more")
        shuffled = [_shuffled(tensor, rng) for tensor in tensors]
        found.append(pearson(_logits(model, tensors), _logits(model, shuffled)))
    return float(np.median(np.concatenate(found)))


def _shuffled(tensor: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return an image [C, H, W] with its pixels in random order."""
    flat = tensor.reshape(len(tensor), -1)
    return flat[:, rng.permutation(flat.shape[1])].reshape(tensor.shape)


def _logits(model: Model, tensors: Sequence[Float32Array]) -> Float32Array:
    """Return the logits as maps of one row, [N, 1, classes]."""
    any_class, seeds = np.zeros(len(tensors), np.int64), [0] * len(tensors)
    return run_images(model, np.stack(tensors), any_class, frozenset(), seeds).logits[:, None]
