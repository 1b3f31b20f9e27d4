"""Images on their way to the model: read, preprocessed and gathered into batches."""

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
from adcc_onnx.images.sources.open_images import Record, Source
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.results.rows import RunProgress

# ImageNet models of the TensorFlow line put a background class first.
_WITH_BACKGROUND = 1001

_DECODERS = min(8, os.cpu_count() or 1)
_AHEAD = 2  # batches that are decoded before they are wanted


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        position: its place in the source.
        name: unique in the source.
        label: the class that its label means in the model's scores.
        tensor: [C, H, W], or None if there is none.
        failure: why there is none.
        truth: where the object is, bool [H, W]; None where that is not known or not asked.
        done: the methods that are finished, where the image's row is kept from an earlier run.
    """

    position: int
    name: str
    label: int | None
    tensor: Float32Array | None
    failure: str | None = None
    truth: NDArray[np.bool_] | None = None
    done: frozenset[str] | None = None


def samples(source: Source, model: Model) -> Iterator[Sample]:
    """Every image of the source; an undecodable one carries its reason.

    Raises:
        PreprocessingError: ready tensors of another shape than the model takes.
    """
    with prefetch(source, model, RunProgress(set(), {})) as stream:
        yield from stream


@contextmanager
def prefetch(
    source: Source, model: Model, done: RunProgress, truth: bool = False
) -> Iterator[Iterator[Sample]]:
    """The images that are not finished, in their order, decoded in threads ahead of the reader.

    Args:
        source, model: whose tensors are wanted.
        done: how far the run has come.
        truth: whether to say where the object is.

    Raises:
        PreprocessingError: ready tensors of another shape than the model takes.
    """
    left = [position for position in range(len(source)) if position not in done.finished]
    pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="adcc-decode")

    def stream() -> Iterator[Sample]:
        pending: deque[Future[Sample]] = deque()
        most = _AHEAD * model.batch * model.concurrent_runs
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
    """Groups of `size` samples that have a tensor, each with the failed ones met on the way.

    All of a group have the same methods left to do.
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
    """The size of batches under which all lanes end at about the same time."""
    turns = max(1, math.ceil(images / (model.batch * model.concurrent_runs)))
    even = math.ceil(images / (turns * model.concurrent_runs))
    # A recorded run is one of a full batch.
    free = model.any_batch and not model.device.captures
    return max(1, even) if free else model.batch


def require_preprocessing(source: Source, model: Model) -> None:
    """Photos need preprocessing; say how to give it."""
    if not source.preprocessed and model.preprocessing is None:
        raise PreprocessingError(
            "how the photos become tensors is not known: give --preprocess "
            f"torch|tf|caffe|unit|CARD.toml, or put a card {model.name}.toml beside the model"
        )


def tensor_of(record: Record, ready: bool, model: Model) -> Float32Array:
    """The normalized tensor [C, H, W] of one record.

    Raises:
        ImageError: it cannot be decoded.
        PreprocessingError: a ready tensor has another shape than the model takes.
    """
    if not ready:
        assert model.preprocessing is not None
        return model.preprocessing.normalize(model.preprocessing.load_cropped(record))
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
    """Where the object of one record is in its tensor, bool [H, W]; None where not known.

    Raises:
        ImageError: the truth does not fit the picture.
    """
    if record.truth is None:
        return None
    place = record.truth()
    if not ready:
        assert model.preprocessing is not None
        place = model.preprocessing.crop_mask(place)
    if place.shape != model.size:
        raise ImageError(
            f"{record.name}: its mask is {_sizes(place.shape)}, the image {_sizes(model.size)}"
        )
    return place


def label_index(label: int | str | None, model: Model) -> int | None:
    """The class a label means in this model's scores."""
    classes = model.classifier.classes
    if isinstance(label, int) and classes == _WITH_BACKGROUND:
        return label + 1 if 0 <= label < classes - 1 else None
    return None if label is None else find_class(label, model.labels, classes)


def _sample(position: int, record: Record, ready: bool, model: Model, truth: bool) -> Sample:
    label = label_index(record.label, model)
    try:
        tensor = tensor_of(record, ready, model)
        place = truth_of(record, ready, model) if truth else None
    except ImageError as error:
        return Sample(position, record.name, label, None, str(error))
    return Sample(position, record.name, label, tensor, None, place)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
