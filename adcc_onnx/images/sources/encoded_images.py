"""The images of a source that gives encoded pictures: one way from bytes to pixels for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from adcc_onnx.images.decoding.decode import decode_downscaled, decode_image
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale
from adcc_onnx.images.pixel_arrays import RGBImage
from adcc_onnx.images.sources.image_source import Label, Record, Source

# Gives the bytes of a picture, or raises `ImageError`.
ReadBytes = Callable[[], bytes]


def encoded_record(name: str, label: Label | None, read: ReadBytes) -> Record:
    """The record of an encoded picture."""
    return Record(
        name, label, partial(_whole, read, name), load_downscaled=partial(_reduced, read, name)
    )


def random_access_source(
    names: Sequence[str], labels: Sequence[Label | None], read: Callable[[int], ReadBytes]
) -> Source:
    """A source whose pictures are reached each by itself."""

    def records(positions: Iterable[int]) -> Iterator[Record]:
        return (encoded_record(names[i], labels[i], read(i)) for i in positions)

    return Source(names, labels, records)


def _whole(read: ReadBytes, name: str) -> RGBImage:
    return decode_image(read(), name)


def _reduced(read: ReadBytes, name: str, max_downscale: MaxDownscale) -> tuple[RGBImage, int]:
    return decode_downscaled(read(), name, max_downscale)
