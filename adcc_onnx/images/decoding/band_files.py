"""Decoding of images with any number of bands: `.npy` arrays, multi-band and multi-page TIFF."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import ImageError, first_line
from adcc_onnx.images.decoding.decode import MAX_PIXELS, open_encoded
from adcc_onnx.images.decoding.multiband_tiff import is_tiff, read_multiband_tiff
from adcc_onnx.images.decoding.npy_header import read_npy_header
from adcc_onnx.images.pixel_arrays import BandImage, RGBImage

NPY_SUFFIX = ".npy"
# Formats whose images have one or three bands only.
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".bmp", ".gif", ".ppm")
_MOST_BANDS_OF_PILLOW = 4
_NPY_MAGIC = b"\x93NUMPY"
_GRAY_MODES = ("1", "L", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def is_npy(data: bytes) -> bool:
    """Return whether a file holds a NumPy array.

    Args:
        data: Content of the file.
    """
    return data.startswith(_NPY_MAGIC)


def decode_bands(data: bytes, name: str, bands: int) -> BandImage:
    """Decode all bands of an image.

    Args:
        data: Content of a `.npy` file [H, W, C], [C, H, W] or [H, W], of an image file with C
            bands (such as RGBA), or of a TIFF with one band per page.
        name: Name of the image, for error messages.
        bands: Number of bands C.

    Returns:
        The bands, [H, W, C] of the file's type; they are not scaled.

    Raises:
        ImageError: The file is damaged, or has another number of bands.
    """
    if is_npy(data):
        return bands_of_array(read_npy(data, name), name, bands)
    if is_tiff(data) and bands > _MOST_BANDS_OF_PILLOW and not _opens_in_pillow(data):
        return bands_of_array(read_multiband_tiff(data, name), name, bands)
    with open_encoded(data, name) as image:
        pages = getattr(image, "n_frames", 1)
        found = pages if image.mode in _GRAY_MODES else len(image.getbands())
        if found != bands:
            raise ImageError(f"{name}: the image has {found} bands, the model takes {bands}")
        if image.mode not in _GRAY_MODES:
            return np.asarray(image)
        return _stacked_pages(image, pages, name)


def rgb_of_npy(data: bytes, name: str) -> RGBImage:
    """Read an array as a photo.

    Args:
        data: Content of a `.npy` file: uint8 [H, W, 3], or uint8 [H, W] for grayscale.
        name: Name of the image, for error messages.

    Returns:
        RGB pixels, uint8 [H, W, 3].

    Raises:
        ImageError: The file is damaged, or holds another array.
    """
    return rgb_of_array(read_npy(data, name), name)


def rgb_of_array(array: NDArray[Any], name: str) -> RGBImage:
    """Take an array as a photo.

    Args:
        array: The pixels, uint8 [H, W, 3], or uint8 [H, W] or [H, W, 1] for grayscale.
        name: Name of the image, for error messages.

    Returns:
        RGB pixels, uint8 [H, W, 3].

    Raises:
        ImageError: It is another array.
    """
    if array.dtype == np.uint8 and array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (1, 3):
        return np.ascontiguousarray(np.repeat(array, 3 // array.shape[2], axis=2))
    raise ImageError(
        f"{name}: the array {_describe(array.dtype, array.shape)} is not uint8 [H, W, 3] or "
        '[H, W]; other bands need a card with channels = "bands"'
    )


def read_npy(data: bytes, name: str) -> NDArray[Any]:
    """Read a `.npy` file; its header is checked before anything is allocated.

    Args:
        data: Content of the file.
        name: Name of the image, for error messages.

    Returns:
        The array; objects are never unpickled.

    Raises:
        ImageError: The file is damaged, or does not hold an array of numbers that is an image.
    """
    try:
        stream = io.BytesIO(data)
        header = read_npy_header(stream)
    except ValueError as error:
        raise ImageError(f"{name}: damaged .npy file ({first_line(error)})") from error
    shape, dtype = header.shape, header.dtype
    if dtype.kind not in "uif" or len(shape) not in (2, 3) or 0 in shape:
        raise ImageError(
            f"{name}: the array {_describe(dtype, shape)} is no image of numbers [H, W, C]"
        )
    size = math.prod(shape) * dtype.itemsize
    if len(data) - stream.tell() != size:
        raise ImageError(f"{name}: damaged .npy file (its size does not fit its shape)")
    if math.prod(shape) > MAX_PIXELS:
        raise ImageError(f"{name}: {math.prod(shape):,} values are more than {MAX_PIXELS:,}")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    return flat.reshape(shape[::-1]).T if header.fortran else flat.reshape(shape)


def bands_of_array(array: NDArray[Any], name: str, bands: int) -> BandImage:
    """Return an array as [H, W, C]; if both ends fit the number of bands, the last is taken.

    Args:
        array: The values, [H, W, C], [C, H, W] or [H, W].
        name: Name of the image, for error messages.
        bands: Number of bands C.

    Raises:
        ImageError: The array has another number of bands.
    """
    if array.ndim == 2 and bands == 1:
        return array[:, :, None]
    if array.ndim == 3 and array.shape[2] == bands:
        return array
    if array.ndim == 3 and array.shape[0] == bands:
        return np.moveaxis(array, 0, 2)
    raise ImageError(
        f"{name}: the array {_describe(array.dtype, array.shape)} is neither [H, W, {bands}] nor "
        f"[{bands}, H, W], as the model takes"
    )


def _opens_in_pillow(data: bytes) -> bool:
    """Whether Pillow knows the pixels of an image; it knows none with more than four bands."""
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _stacked_pages(image: Image.Image, pages: int, name: str) -> BandImage:
    """Stack the pages of a TIFF, one band each."""
    if image.width * image.height * pages > MAX_PIXELS:
        raise ImageError(f"{name}: {pages} pages are more than {MAX_PIXELS:,} pixels")
    first = np.asarray(image)
    stacked = np.empty((*first.shape, pages), first.dtype)
    for page in range(pages):
        image.seek(page)
        plane = np.asarray(image)
        if (plane.shape, plane.dtype) != (first.shape, first.dtype) or plane.ndim != 2:
            raise ImageError(f"{name}: the pages have different sizes or types")
        stacked[:, :, page] = plane
    return stacked


def _describe(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    return f"{dtype} [{' x '.join(str(size) for size in shape)}]"
