"""Images in memory: Pillow images and arrays of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import ImageError, SourceError
from adcc_onnx.images.decoding.band_files import bands_of_array, rgb_of_array
from adcc_onnx.images.decoding.decode import MAX_PIXELS, pixels_of
from adcc_onnx.images.pixel_arrays import BandImage, RGBImage
from adcc_onnx.images.sources.image_source import Record, Source

MOST_BANDS = 32  # of an array whose last axis is the bands
MemoryImage = Image.Image | NDArray[np.uint8]


def picture_source(images: Sequence[MemoryImage]) -> Source:
    """Make a source of images in memory that are not preprocessed yet.

    Args:
        images: Pillow images of any mode, or uint8 arrays [H, W, 3], [H, W] or, for models of
            other numbers of channels, [H, W, C].

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
            yield record_of_image(images[i], names[i])

    return Source(names, [None] * len(images), read)


def record_of_image(image: MemoryImage, name: str) -> Record:
    """Make the record of an image in memory.

    Args:
        image: A Pillow image, or a uint8 array.
        name: Name of the image.
    """
    return Record(
        name, None, partial(_to_pixels, image, name), load_bands=partial(_to_bands, image, name)
    )


def is_pixel_array(array: NDArray[np.generic]) -> bool:
    """Return whether an array can be an image: uint8 [H, W] or [H, W, C].

    Args:
        array: An array.
    """
    ranks = array.ndim == 2 or (array.ndim == 3 and array.shape[2] <= MOST_BANDS)
    return array.dtype == np.uint8 and ranks and array.size > 0


def _check_kind(image: object, name: str) -> None:
    if isinstance(image, Image.Image):
        return
    if not isinstance(image, np.ndarray):
        raise SourceError(
            f"{name} must be a Pillow image or an array uint8 [H, W, 3], not {type(image).__name__}"
        )
    if not is_pixel_array(image):
        shape = " x ".join(str(size) for size in image.shape)
        raise SourceError(
            f"{name} must be an array uint8 [H, W, 3], [H, W] or [H, W, bands], not {image.dtype} "
            f"[{shape}]"
        )


def _to_pixels(image: MemoryImage, name: str) -> RGBImage:
    if isinstance(image, Image.Image):
        return pixels_of(image, name)
    _check_size(image, name)
    return rgb_of_array(image, name)


def _to_bands(image: MemoryImage, name: str, bands: int) -> BandImage:
    array = np.asarray(image)
    _check_size(array, name)
    return bands_of_array(array, name, bands)


def _check_size(image: NDArray[np.uint8], name: str) -> None:
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(
            f"{name}: {image.shape[1]} x {image.shape[0]} are more than {MAX_PIXELS:,} pixels"
        )
