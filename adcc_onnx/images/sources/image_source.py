"""A sequence of images: an index in memory, each picture read only when it is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale
from adcc_onnx.images.pixel_arrays import Mask

Label = int | str
Load = Callable[[], NDArray[Any]]
LoadDownscaled = Callable[[MaxDownscale], tuple[NDArray[np.uint8], int]]
# Draws the mask of a picture of (height, width).
DrawMask = Callable[[tuple[int, int]], Mask]


@dataclass(frozen=True)
class Record:
    """One image of a source.

    Attributes:
        name: unique in the source and the same on every machine.
        label: a class number or name, if one is given.
        load: the picture, uint8 [H, W, 3], or of a ready source the tensor, float32 [C, H, W];
            raises `ImageError` where it cannot.
        truth: the object's pixels in what `load` gives, bool [H, W], all False where it has none;
            raises `ImageError` where the annotation is broken or does not fit the picture. None
            where nothing is known.
        reduced: the picture, perhaps as much smaller as it is told it may be, and how many times
            smaller it is; raises as `load`. None where there is nothing to decode.
    """

    name: str
    label: Label | None
    load: Load
    truth: Callable[[], Mask] | None = None
    load_downscaled: LoadDownscaled | None = None


@dataclass(frozen=True)
class Source:
    """A sequence of images, which can be walked more than once.

    Attributes:
        names: of the images, in the order they are evaluated.
        labels: of the images, where they are given.
        read: gives the records of some positions, in rising order.
        ready: the records load preprocessed tensors.
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
        """The records of some positions, in rising order; nothing of the others is decoded."""
        return self.read(positions)


def select_images(source: Source, positions: Sequence[int]) -> Source:
    """Some of a source's images, by their positions in rising order."""

    def read(chosen: Iterable[int]) -> Iterator[Record]:
        return source.at(positions[i] for i in chosen)

    return Source(
        [source.names[i] for i in positions],
        [source.labels[i] for i in positions],
        read,
        source.preprocessed,
    )


def relabel(source: Source, labels: Sequence[Label | None]) -> Source:
    """The same images under other labels."""

    def read(positions: Iterable[int]) -> Iterator[Record]:
        chosen = list(positions)
        records = zip(chosen, source.at(chosen), strict=True)
        return (replace(record, label=labels[i]) for i, record in records)

    return replace(source, labels=labels, read=read)


def concatenate_sources(sources: Sequence[Source]) -> Source:
    """The images of several sources, all ready or none, one source after the other."""
    starts = list(accumulate((len(source) for source in sources), initial=0))
    names = unique_names(chain.from_iterable(source.names for source in sources))
    labels = list(chain.from_iterable(source.labels for source in sources))

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for part, group in groupby(positions, lambda i: bisect_right(starts, i) - 1):
            mine = list(group)
            records = sources[part].at([i - starts[part] for i in mine])
            for i, record in zip(mine, records, strict=True):
                yield replace(record, name=names[i])

    return Source(names, labels, read, all(source.preprocessed for source in sources))


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, each a second time met with "#2" behind it, and so on; all can be written."""
    taken: set[str] = set()
    found = []
    for name in names:
        plain = free = _writable(name)
        number = 1
        while free in taken:
            number += 1
            free = f"{plain}#{number}"
        taken.add(free)
        found.append(free)
    return found


def parse_label(text: str) -> Label | None:
    """A label as written: a class number, a name, or nothing."""
    text = text.strip()
    return int(text) if text.removeprefix("-").isdecimal() else text or None


def _writable(name: str) -> str:
    """Bytes of a file's name that are no text are shown by their numbers."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
