"""From files to pixels: only whole pictures of known formats come through."""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from adcc_onnx.errors import ImageError, first_line
from adcc_onnx.images.decoding.completeness import check_complete
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale, draft_jpeg
from adcc_onnx.images.pixel_arrays import RGBImage

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
# The only decoders that ever run: none of them interprets a program, as the one for EPS does.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# Checked from the header, before anything is decoded: 8 times a 20-megapixel photo.
MOST_PIXELS = 180_000_000
# "I" is what Pillow makes of a 16-bit PPM, scaled to 16 bits whatever its white.
_DEEP_GRAYS = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_IN_EIGHT_BITS = np.round(np.arange(2**16) / 257).astype(np.uint8)


def read_image(path: Path, name: str = "") -> RGBImage:
    """The pixels of a picture file, RGB [H, W, 3].

    Args:
        path: the file.
        name: of the image, for messages; the file's if empty.

    Raises:
        ImageError: missing, empty, cut short, too large, or no picture of a known format.
    """
    name = name or path.name
    return decode_image(read_bytes(path, name), name)


def decode_image(data: bytes, name: str) -> RGBImage:
    """The pixels of an encoded picture, RGB [H, W, 3], upright by its EXIF orientation.

    Gray, palette and CMYK pictures are converted, 16-bit ones scaled to 8 bits, an alpha channel
    dropped (as torchvision's loader does), and the first frame of an animation taken.

    Raises:
        ImageError: as `read_image`.
    """
    picture, _ = decode_downscaled(data, name, lambda size: 1)
    return picture


def decode_downscaled(data: bytes, name: str, max_downscale: MaxDownscale) -> tuple[RGBImage, int]:
    """The pixels of an encoded picture, those of a JPEG perhaps of a smaller one.

    Args:
        data, name: as of `decode_image`.
        spare: how many times smaller a picture of (height, width) may be.

    Returns:
        The picture, RGB [H, W, 3], upright, and how many times smaller it is: 1, 2, 4 or 8.

    Raises:
        ImageError: as `read_image`.
    """
    with open_encoded(data, name) as image:
        times = draft_jpeg(image, max_downscale)
        image.load()
        if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
            raise ImageError(f"{name}: 32-bit pixels, of which nothing says how bright white is")
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(_to_rgb(image)), times


@contextmanager
def open_encoded(
    data: bytes, name: str, formats: tuple[str, ...] = FORMATS
) -> Generator[Image.Image, None, None]:
    """An encoded picture, not decoded yet; what goes wrong within the block is an `ImageError`.

    Raises:
        ImageError: as `read_image`.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty")
    try:
        with warnings.catch_warnings():
            # Our own limit is checked below, with a message of its own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=formats) as image:
                _check_size(image, name)
                check_complete(data, image.format, image.width * image.height, name)
                yield image
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: no picture of a known format ({', '.join(formats)})") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MOST_PIXELS:,} pixels") from error
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise ImageError(f"{name}: cut short or broken ({first_line(error)})") from error


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise ImageError(
            f"{name}: {image.width} x {image.height} are more than {MOST_PIXELS:,} pixels"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_GRAYS:
        # Pillow clips 16 bits to 8; they are scaled here.
        image = Image.fromarray(_IN_EIGHT_BITS[np.asarray(image)])
    return image if image.mode == "RGB" else image.convert("RGB")
