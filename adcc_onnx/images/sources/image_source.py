"""A source is a sequence of images: names and labels in memory, pixels loaded on demand."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import SourceError, restore_name
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale
from adcc_onnx.images.pixel_arrays import Mask

Label = int | str
Load = Callable[[], NDArray[Any]]
# Returns an image of a number of bands, [H, W, C] of the file's type.
LoadBands = Callable[[int], NDArray[Any]]
LoadDownscaled = Callable[[MaxDownscale], tuple[NDArray[np.uint8], int]]
# Returns the content of an image file, or raises `ImageError`.
ReadBytes = Callable[[], bytes]
# Returns the crop of an image: from the file's content, the settings that the crop depends on, its
# (height, width), and a function that makes it.
Crops = Callable[
    [bytes, Mapping[str, Any], tuple[int, int], Callable[[], NDArray[np.uint8]]], NDArray[np.uint8]
]
# Returns the mask of an image of (height, width).
DrawMask = Callable[[tuple[int, int]], Mask]


@dataclass(frozen=True)
class Record:
    """One image of a source.

    Attributes:
        name: Name of the image, unique in the source and the same on every machine.
        label: Class index or name; None if unknown.
        load: Function that returns the image, uint8 [H, W, 3], or for a source of preprocessed
            tensors the tensor, float32 [C, H, W]. Raises `ImageError` if the image cannot be
            loaded.
        truth: Function that returns the ground-truth mask of the object in what `load` returns,
            bool [H, W], all False without an object. Raises `ImageError` if the annotation is
            damaged or does not fit the image. None without an annotation.
        load_downscaled: Function from the downscaling limit to the image and its downscaling
            factor. Raises like `load`. None if there is nothing to decode.
        load_bands: Function from a number of bands C to the image's bands, [H, W, C] of the file's
            type. Raises `ImageError` if the image has another number of bands. None for formats
            that hold only photos.
        encoded: Function that returns the content of the image file. None for images without one.
        crops: Function that returns the image's crop from a cache; None without a cache.
    """

    name: str
    label: Label | None
    load: Load
    truth: Callable[[], Mask] | None = None
    load_downscaled: LoadDownscaled | None = None
    load_bands: LoadBands | None = None
    encoded: ReadBytes | None = None
    crops: Crops | None = None


@dataclass(frozen=True)
class Source:
    """A sequence of images that can be iterated repeatedly.

    Attributes:
        names: Unique names of the images, in the order of evaluation.
        labels: Labels of the images; None where unknown.
        read: Function from increasing positions to the records at these positions.
        preprocessed: Whether the records load preprocessed tensors instead of images.
    """

    names: Sequence[str]
    labels: Sequence[Label | None]
    read: Callable[[Iterable[int]], Iterator[Record]]
    preprocessed: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Record]:
        return self.at(range(len(self)))

    def at(self, positions: Iterable[int]) -> Iterator[Record]:
        """Read the records at some positions; other images are not decoded.

        Args:
            positions: Positions in the source, increasing.

        Returns:
            The records, in the order of the positions.
        """
        return self.read(positions)


def select_images(source: Source, positions: Sequence[int]) -> Source:
    """Select images of a source by position.

    Args:
        source: The source.
        positions: Positions in the source, increasing.

    Returns:
        A source of the selected images.
    """

    def read(chosen: Iterable[int]) -> Iterator[Record]:
        return source.at(positions[i] for i in chosen)

    return Source(
        [source.names[i] for i in positions],
        [source.labels[i] for i in positions],
        read,
        source.preprocessed,
    )


def relabel(source: Source, labels: Sequence[Label | None]) -> Source:
    """Replace the labels of a source.

    Args:
        source: The source.
        labels: New labels, one per image; None where unknown.

    Returns:
        A source of the same images with the new labels.
    """

    def read(positions: Iterable[int]) -> Iterator[Record]:
        chosen = list(positions)
        records = zip(chosen, source.at(chosen), strict=True)
        return (replace(record, label=labels[i]) for i, record in records)

    return replace(source, labels=labels, read=read)


def map_records(source: Source, change: Callable[[Record], Record]) -> Source:
    """Change each record of a source when it is read.

    Args:
        source: The source.
        change: Function from a record to the changed record, which keeps its name and label.

    Returns:
        A source of the changed records.
    """

    def read(positions: Iterable[int]) -> Iterator[Record]:
        return map(change, source.at(positions))

    return replace(source, read=read)


def concatenate_sources(sources: Sequence[Source]) -> Source:
    """Concatenate sources; duplicate names get a `#2` suffix.

    Args:
        sources: The sources: all of images, or all of preprocessed tensors.

    Returns:
        A source of all images, one source after the other.

    Raises:
        SourceError: Some sources hold images and others preprocessed tensors.
    """
    if len({source.preprocessed for source in sources}) > 1:
        raise SourceError("images and preprocessed tensors (.npz) cannot be mixed")
    starts = list(accumulate((len(source) for source in sources), initial=0))
    names = unique_names(chain.from_iterable(source.names for source in sources))
    labels = list(chain.from_iterable(source.labels for source in sources))

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for part, group in groupby(positions, lambda i: bisect_right(starts, i) - 1):
            members = list(group)
            records = sources[part].at([i - starts[part] for i in members])
            for i, record in zip(members, records, strict=True):
                yield replace(record, name=names[i])

    return Source(names, labels, read, all(source.preprocessed for source in sources))


def unique_names(names: Iterable[str]) -> list[str]:
    """Make names unique: duplicates get the suffix `#2`, `#3` and so on.

    Args:
        names: Names of images; bytes that are not valid UTF-8 are escaped.

    Returns:
        The unique names, in the same order.

    Example:
        >>> unique_names(["a.png", "b.png", "a.png"])
        ['a.png', 'b.png', 'a.png#2']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        base = candidate = restore_name(name)
        number = 1
        while candidate in taken:
            number += 1
            candidate = f"{base}#{number}"
        taken.add(candidate)
        found.append(candidate)
    return found


def parse_label(text: str) -> Label | None:
    """Parse a label: a class index, a class name, or nothing.

    Args:
        text: The text of the label.

    Returns:
        An int for a decimal integer, None for an empty text, otherwise the stripped text.

    Example:
        >>> parse_label("12"), parse_label(" tabby "), parse_label("")
        (12, 'tabby', None)
    """
    text = text.strip()
    return int(text) if text.removeprefix("-").isdecimal() else text or None
