"""Records of encoded images: all sources decode bytes to pixels in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from adcc_onnx.images.decoding.band_files import (
    PHOTO_SUFFIXES,
    decode_bands,
    is_npy,
    rgb_of_npy,
)
from adcc_onnx.images.decoding.decode import decode_downscaled, decode_image
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale
from adcc_onnx.images.pixel_arrays import BandImage, RGBImage
from adcc_onnx.images.sources.image_source import Label, ReadBytes, Record, Source


def encoded_record(name: str, label: Label | None, read: ReadBytes) -> Record:
    """Make the record of an encoded image.

    Args:
        name: Name of the image, unique in its source.
        label: Class index or name; None if unknown.
        read: Function that returns the content of the image file.

    Returns:
        The record.
    """
    photo = name.lower().endswith(PHOTO_SUFFIXES)
    return Record(
        name,
        label,
        partial(_decode, read, name),
        load_downscaled=partial(_decode_downscaled, read, name),
        load_bands=None if photo else partial(_decode_bands, read, name),
        encoded=read,
    )


def random_access_source(
    names: Sequence[str], labels: Sequence[Label | None], read: Callable[[int], ReadBytes]
) -> Source:
    """Make a source whose images can be read in any order.

    Args:
        names: Unique names of the images.
        labels: Labels of the images; None where unknown.
        read: Function from an image's position to the function that returns its bytes.

    Returns:
        The source.
    """

    def records(positions: Iterable[int]) -> Iterator[Record]:
        return (encoded_record(names[i], labels[i], read(i)) for i in positions)

    return Source(names, labels, records)


def _decode(read: ReadBytes, name: str) -> RGBImage:
    data = read()
    return rgb_of_npy(data, name) if is_npy(data) else decode_image(data, name)


def _decode_bands(read: ReadBytes, name: str, bands: int) -> BandImage:
    return decode_bands(read(), name, bands)


def _decode_downscaled(
    read: ReadBytes, name: str, max_downscale: MaxDownscale
) -> tuple[RGBImage, int]:
    data = read()
    if is_npy(data):
        return rgb_of_npy(data, name), 1
    return decode_downscaled(data, name, max_downscale)
