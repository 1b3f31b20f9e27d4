"""Decoding of image files to RGB pixels; only complete images of known formats are accepted."""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from adcc_onnx.errors import ImageError, first_line
from adcc_onnx.images.decoding.completeness import check_complete, check_ppm_header
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.decoding.heif import HEIF_FORMATS, is_heif, register_heif
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale, draft_jpeg
from adcc_onnx.images.decoding.upright_rgb import upright_rgb
from adcc_onnx.images.pixel_arrays import RGBImage

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
# Decoded by pillow-heif, which is optional.
HEIF_SUFFIXES = (".heic", ".heif", ".avif")
# The only decoders that ever run. Formats that hold programs, as EPS does, are excluded.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# Checked from the header before anything is decoded: 9 times a 20-megapixel photo.
MAX_PIXELS = 180_000_000
# Decoders that need more than 9 bytes per pixel have lower limits (docs/reference/sources.md).
_MAX_PIXELS_OF = {"WEBP": 90_000_000, "HEIF": 120_000_000, "AVIF": 120_000_000}
# A large image must have a file in proportion, so that a small file cannot demand much memory.
_ALWAYS_ALLOWED_PIXELS, _MAX_PIXELS_PER_BYTE = 2**25, 400


def read_image(path: Path, name: str = "") -> RGBImage:
    """Read and decode an image file.

    Args:
        path: The file.
        name: Name of the image, for error messages. Default: the file's name.

    Returns:
        RGB pixels, uint8 [H, W, 3].

    Raises:
        ImageError: The file is missing, empty, truncated, damaged or too large, or is not an image
            of a known format.
    """
    name = name or path.name
    return decode_image(read_bytes(path, name), name)


def decode_image(data: bytes, name: str) -> RGBImage:
    """Decode an image, rotated upright by its EXIF orientation.

    Grayscale, palette and CMYK images are converted to RGB, 16-bit images are scaled to 8 bits, an
    alpha channel is dropped (as torchvision's loader does), and of an animation the first frame is
    taken.

    Args:
        data: Content of an image file.
        name: Name of the image, for error messages.

    Returns:
        RGB pixels, uint8 [H, W, 3].

    Raises:
        ImageError: The data are empty, truncated, damaged or too large, or not an image of a known
            format.
    """
    image, _ = decode_downscaled(data, name, lambda size: 1)
    return image


def pixels_of(image: Image.Image, name: str) -> RGBImage:
    """Convert a Pillow image exactly as an image file is converted.

    Args:
        image: A Pillow image of any mode; it is not changed.
        name: Name of the image, for error messages.

    Returns:
        RGB pixels, uint8 [H, W, 3], upright by the image's EXIF orientation.

    Raises:
        ImageError: The image is too large, cannot be loaded, or has 32-bit pixels.

    Example:
        >>> pixels_of(Image.new("L", (2, 1), 7), "gray").tolist()
        [[[7, 7, 7], [7, 7, 7]]]
    """
    _check_size(image, name)
    try:
        image.load()
        _check_depth(image, name)
        return upright_rgb(image)
    except ImageError:
        raise
    except Exception as error:  # a lazily opened file may be damaged in any way
        raise ImageError(f"{name}: truncated or damaged ({first_line(error)})") from error


def decode_downscaled(data: bytes, name: str, max_downscale: MaxDownscale) -> tuple[RGBImage, int]:
    """Decode an image like `decode_image`, JPEGs at a reduced size if they may be.

    Args:
        data: Content of an image file.
        name: Name of the image, for error messages.
        max_downscale: Function from (height, width) to the largest downscaling factor allowed.

    Returns:
        RGB pixels, uint8 [H, W, 3], and the downscaling factor: 1, 2, 4 or 8.

    Raises:
        ImageError: The image cannot be decoded; see `decode_image`.
    """
    with open_encoded(data, name) as image:
        factor = draft_jpeg(image, max_downscale)
        image.load()
        _check_depth(image, name)
        return upright_rgb(image), factor


@contextmanager
def open_encoded(
    data: bytes, name: str, formats: tuple[str, ...] = IMAGE_FORMATS
) -> Generator[Image.Image, None, None]:
    """Open an encoded image without decoding it; errors within the block become `ImageError`.

    Args:
        data: Content of an image file.
        name: Name of the image, for error messages.
        formats: Formats that are allowed, by Pillow's names.

    Yields:
        The opened image.

    Raises:
        ImageError: The image cannot be opened, or its decoding within the block fails.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty")
    if formats == IMAGE_FORMATS and is_heif(data):
        register_heif(name)
        formats = (*formats, *HEIF_FORMATS)
    check_ppm_header(data, name)
    try:
        with warnings.catch_warnings():
            # `_check_size` applies the package's own limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=formats) as image:
                _check_size(image, name)
                _check_proportion(image.width * image.height, len(data), name)
                check_complete(data, image.format, image.width * image.height, name)
                yield image
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not an image of a known format ({', '.join(formats)})"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MAX_PIXELS:,} pixels") from error
    except ImageError:
        raise
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise ImageError(f"{name}: truncated or damaged ({first_line(error)})") from error


def _check_size(image: Image.Image, name: str) -> None:
    largest = _MAX_PIXELS_OF.get(image.format or "", MAX_PIXELS)
    if image.width * image.height > largest:
        of_format = f", the limit of {image.format} images" if largest < MAX_PIXELS else ""
        raise ImageError(
            f"{name}: {image.width} x {image.height} are more than {largest:,} pixels{of_format}"
        )


def _check_proportion(pixels: int, size: int, name: str) -> None:
    if pixels > max(_ALWAYS_ALLOWED_PIXELS, _MAX_PIXELS_PER_BYTE * size):
        raise ImageError(
            f"{name}: truncated or a decompression bomb ({size:,} bytes for {pixels:,} pixels)"
        )


def _check_depth(image: Image.Image, name: str) -> None:
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ImageError(f"{name}: 32-bit pixels have no defined white level")
