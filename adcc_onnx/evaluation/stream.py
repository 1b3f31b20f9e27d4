"""Images on their way to the model: read, preprocessed and gathered into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adcc_onnx.cams.method import Floats
from adcc_onnx.errors import ImageError, PreprocessingError
from adcc_onnx.images.labels import label_index as index_among
from adcc_onnx.images.sources import Record, Source
from adcc_onnx.model import Model

# ImageNet models of the TensorFlow line put a background class first.
_WITH_BACKGROUND = 1001


@dataclass(frozen=True)
class Sample:
    """One image: its place in the source, and its tensor [C, H, W] or why there is none."""

    position: int
    name: str
    label: int | None
    tensor: Floats | None
    failure: str | None = None


def samples(source: Source, model: Model, done: Iterable[int] = ()) -> Iterator[Sample]:
    """Every image of the source that is not done yet; an undecodable one carries its reason.

    Raises:
        PreprocessingError: ready tensors of another shape than the model takes.
    """
    skip = set(done)
    for position, record in enumerate(source):
        if position not in skip:
            yield _sample(position, record, source.ready, model)


def batches(stream: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Groups of `size` samples that have a tensor, each with the failed ones met on the way."""
    group: list[Sample] = []
    for sample in stream:
        group.append(sample)
        if sum(s.tensor is not None for s in group) == size:
            yield group
            group = []
    if group:
        yield group


def require_preprocessing(source: Source, model: Model) -> None:
    """Photos need preprocessing; say how to give it."""
    if not source.ready and model.preprocessing is None:
        raise PreprocessingError(
            "how the photos become tensors is not known: give --preprocess "
            f"torch|tf|caffe|unit|CARD.toml, or put a card {model.name}.toml beside the model"
        )


def tensor_of(record: Record, ready: bool, model: Model) -> Floats:
    """The normalised tensor [C, H, W] of one record.

    Raises:
        ImageError: it cannot be decoded.
        PreprocessingError: a ready tensor has another shape than the model takes.
    """
    loaded = record.load()
    if not ready:
        assert model.preprocessing is not None
        return model.preprocessing(loaded)
    wanted = (model.classifier.channels, *model.size)
    if loaded.shape != wanted:
        raise PreprocessingError(
            f"the ready tensors are {_sizes(loaded.shape)}, the model takes {_sizes(wanted)} "
            "(channels x height x width)"
        )
    tensor: Floats = loaded
    return tensor


def label_index(label: int | str | None, model: Model) -> int | None:
    """The class a label means in this model's scores."""
    classes = model.classifier.classes
    if isinstance(label, int) and classes == _WITH_BACKGROUND:
        return label + 1 if 0 <= label < classes - 1 else None
    return None if label is None else index_among(label, model.labels, classes)


def _sample(position: int, record: Record, ready: bool, model: Model) -> Sample:
    label = label_index(record.label, model)
    try:
        tensor = tensor_of(record, ready, model)
    except ImageError as error:
        return Sample(position, record.name, label, None, str(error))
    return Sample(position, record.name, label, tensor)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
