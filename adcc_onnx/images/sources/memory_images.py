"""Images in memory: Pillow images and RGB arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import ImageError, SourceError
from adcc_onnx.images.decoding.decode import MAX_PIXELS, pixels_of
from adcc_onnx.images.pixel_arrays import RGBImage
from adcc_onnx.images.sources.image_source import Record, Source

MemoryImage = Image.Image | NDArray[np.uint8]


def picture_source(images: Sequence[MemoryImage]) -> Source:
    """Make a source of images in memory that are not preprocessed yet.

    Args:
        images: Pillow images of any mode, or RGB arrays, uint8 [H, W, 3].

    Returns:
        The images, named "image_0", "image_1", ...

    Raises:
        SourceError: There is no image, or one is neither a Pillow image nor such an array.
    """
    if not len(images):
        raise SourceError("the list of images is empty")
    for i, image in enumerate(images):
        _check_kind(image, f"image_{i}")
    names = [f"image_{i}" for i in range(len(images))]

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for i in positions:
            yield Record(names[i], None, partial(_to_pixels, images[i], names[i]))

    return Source(names, [None] * len(images), read)


def _check_kind(image: object, name: str) -> None:
    if isinstance(image, Image.Image):
        return
    if not isinstance(image, np.ndarray):
        raise SourceError(
            f"{name} must be a Pillow image or an array uint8 [H, W, 3], not {type(image).__name__}"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        shape = " x ".join(str(size) for size in image.shape)
        raise SourceError(f"{name} must be an array uint8 [H, W, 3], not {image.dtype} [{shape}]")


def _to_pixels(image: MemoryImage, name: str) -> RGBImage:
    if isinstance(image, Image.Image):
        return pixels_of(image, name)
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(
            f"{name}: {image.shape[1]} x {image.shape[0]} are more than {MAX_PIXELS:,} pixels"
        )
    return np.ascontiguousarray(image)
