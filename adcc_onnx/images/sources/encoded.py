"""The images of a source that gives encoded pictures: one way from bytes to pixels for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from adcc_onnx.images.decoding.decode import Picture, decode_image, decode_reduced
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale
from adcc_onnx.images.sources.image_source import Label, Record, Source

# Gives the bytes of a picture, or raises `ImageError`.
Read = Callable[[], bytes]


def encoded(name: str, label: Label | None, read: Read) -> Record:
    """The record of an encoded picture."""
    return Record(name, label, partial(_whole, read, name), reduced=partial(_reduced, read, name))


def random_access(
    names: Sequence[str], labels: Sequence[Label | None], read: Callable[[int], Read]
) -> Source:
    """A source whose pictures are reached each by itself."""

    def records(positions: Iterable[int]) -> Iterator[Record]:
        return (encoded(names[i], labels[i], read(i)) for i in positions)

    return Source(names, labels, records)


def _whole(read: Read, name: str) -> Picture:
    return decode_image(read(), name)


def _reduced(read: Read, name: str, max_downscale: MaxDownscale) -> tuple[Picture, int]:
    return decode_reduced(read(), name, max_downscale)
