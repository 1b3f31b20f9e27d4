"""Reads, preprocesses and batches images, prefetching ahead of the model."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import ImageError, PreprocessingError
from adcc_onnx.images.class_names import find_class
from adcc_onnx.images.ilsvrc import synset_class
from adcc_onnx.images.sources.image_source import Record, Source
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.results.rows import RunProgress

# ImageNet models of the TensorFlow line have a background class first.
_CLASSES_WITH_BACKGROUND = 1001

_DECODERS = min(8, os.cpu_count() or 1)
_PREFETCHED_BATCHES = 2  # per concurrent run


@dataclass(frozen=True)
class Sample:
    """One image, ready for the model.

    Attributes:
        position: The image's position in the source.
        name: The image's name, unique in the source.
        label: The index of the labeled class in the model's scores; None if there is none.
        tensor: The normalized tensor, float32 [C, H, W]; None if the image cannot be decoded.
        failure: Why there is no tensor.
        truth: Where the object is, bool [H, W]; None if that is not known or not needed.
        done: The methods that an earlier run has finished; None if it has not started the image.
    """

    position: int
    name: str
    label: int | None
    tensor: Float32Array | None
    failure: str | None = None
    truth: NDArray[np.bool_] | None = None
    done: frozenset[str] | None = None


def samples(source: Source, model: Model) -> Iterator[Sample]:
    """Iterate over every image of a source; an image that cannot be decoded has a failure.

    Args:
        source: The images.
        model: The model that they are prepared for.

    Raises:
        PreprocessingError: Ready tensors have another shape than the model takes.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> from adcc_onnx.images.sources.open_images import open_source
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> [sample.tensor.shape for sample in samples(open_source("drawings:2"), model)]
        [(3, 112, 112), (3, 112, 112)]
    """
    with prefetch(source, model, RunProgress(set(), {})) as stream:
        yield from stream


@contextmanager
def prefetch(
    source: Source, model: Model, done: RunProgress, truth: bool = False
) -> Iterator[Iterator[Sample]]:
    """Decode the unfinished images of a source in threads, ahead of their use.

    Args:
        source: The images.
        model: The model that they are prepared for.
        done: The progress of an earlier run.
        truth: Whether to read where the objects are.

    Yields:
        An iterator over the samples, in the order of the source.

    Raises:
        PreprocessingError: Ready tensors have another shape than the model takes.
    """
    left = [position for position in range(len(source)) if position not in done.finished]
    pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="adcc-decode")

    def stream() -> Iterator[Sample]:
        pending: deque[Future[Sample]] = deque()
        most = _PREFETCHED_BATCHES * model.batch * model.settings.concurrent_runs
        for position, record in zip(left, source.at(left), strict=True):
            pending.append(
                pool.submit(_sample, position, record, source.preprocessed, model, truth)
            )
            if len(pending) > most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        yield (replace(one, done=done.partial.get(one.position)) for one in stream())
    finally:
        pool.shutdown(cancel_futures=True)


def batches(stream: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Group samples into batches.

    Args:
        stream: The samples.
        size: The number of samples with a tensor per batch.

    Yields:
        Batches whose samples have the same methods left to do. The failed samples between them
        are included.
    """
    group: list[Sample] = []
    for sample in stream:
        if group and sample.done != group[0].done:
            yield group
            group = []
        group.append(sample)
        if sum(s.tensor is not None for s in group) == size:
            yield group
            group = []
    if group:
        yield group


def even_batch(images: int, model: Model) -> int:
    """Return the batch size with which all concurrent runs end at about the same time.

    Args:
        images: The number of images.
        model: The model; its batch size is the upper limit.
    """
    runs = model.settings.concurrent_runs
    turns = max(1, math.ceil(images / (model.batch * runs)))
    even = math.ceil(images / (turns * runs))
    # A CUDA graph is recorded for a full batch only.
    free = model.any_batch and not model.device.captures
    return max(1, even) if free else model.batch


def require_preprocessing(source: Source, model: Model) -> None:
    """Check that the images of a source can be converted to tensors.

    Args:
        source: The images.
        model: The model that they are prepared for.

    Raises:
        PreprocessingError: The source has images, but the model has no preprocessing, or takes
            bands that photos do not have.
    """
    if source.preprocessed:
        return
    steps = model.require_preprocessing()
    if steps.channels == "bands" and len(source):
        first = next(iter(source))
        if first.load_bands is None:
            raise PreprocessingError(
                f"{first.name}: the model takes {steps.depth} bands, which photos do not have: "
                "give .npy or multi-band TIFF files, or ready tensors in an .npz file"
            )


def tensor_of(record: Record, ready: bool, model: Model) -> Float32Array:
    """Return the normalized tensor of one record, float32 [C, H, W].

    Args:
        record: The record.
        ready: Whether the record is a preprocessed tensor.
        model: The model that it is prepared for.

    Raises:
        ImageError: The image cannot be decoded.
        PreprocessingError: A ready tensor has another shape than the model takes.
    """
    if not ready:
        preprocessing = model.require_preprocessing()
        return preprocessing.normalize(preprocessing.load_cropped(record))
    loaded = record.load()
    wanted = (model.classifier.channels, *model.size)
    if loaded.shape != wanted:
        raise PreprocessingError(
            f"the ready tensors are {_sizes(loaded.shape)}, the model takes {_sizes(wanted)} "
            "(channels x height x width)"
        )
    tensor: Float32Array = loaded
    return tensor


def truth_of(record: Record, ready: bool, model: Model) -> NDArray[np.bool_] | None:
    """Return where the object of one record is, bool [H, W]; None if that is not known.

    Args:
        record: The record.
        ready: Whether the record is a preprocessed tensor.
        model: The model that it is prepared for.

    Raises:
        ImageError: The ground truth has another size than the image.
    """
    if record.truth is None:
        return None
    truth = record.truth()
    if not ready:
        truth = model.require_preprocessing().crop_mask(truth)
    if truth.shape != model.size:
        raise ImageError(
            f"{record.name}: its mask is {_sizes(truth.shape)}, the image {_sizes(model.size)}"
        )
    return truth


def labeled_class(label: int | str | None, model: Model) -> int | None:
    """Return the index of a labeled class in the model's scores; None if it has none.

    Args:
        label: The label: a class index, a class name, or None.
        model: The model.
    """
    classes = model.classifier.classes
    if isinstance(label, int) and classes == _CLASSES_WITH_BACKGROUND:
        return label + 1 if 0 <= label < classes - 1 else None
    if label is None:
        return None
    found = find_class(label, model.labels, classes)
    return synset_class(label, classes) if found is None and isinstance(label, str) else found


def _sample(position: int, record: Record, ready: bool, model: Model, truth: bool) -> Sample:
    label = labeled_class(record.label, model)
    try:
        tensor = tensor_of(record, ready, model)
        mask = truth_of(record, ready, model) if truth else None
    except ImageError as error:
        return Sample(position, record.name, label, None, str(error))
    return Sample(position, record.name, label, tensor, None, mask)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
