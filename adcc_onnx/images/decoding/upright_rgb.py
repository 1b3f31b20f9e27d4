"""Conversion of Pillow images to upright RGB arrays without a second copy of the whole image."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image

from adcc_onnx.images.pixel_arrays import RGBImage

# Pillow gives 16-bit PPM files the mode "I", scaled to 16 bits.
_GRAY_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_16_TO_8_BITS = np.round(np.arange(2**16) / 257).astype(np.uint8)
_STRIP_PIXELS = 2**18
# EXIF orientations with height and width swapped, and those whose upright rows or columns run
# backward.
_SIDEWAYS = (5, 6, 7, 8)
_ROWS_REVERSED, _COLUMNS_REVERSED = (3, 4, 7, 8), (2, 3, 6, 7)


def upright_rgb(image: Image.Image) -> RGBImage:
    """Convert a Pillow image to 8-bit RGB and turn it upright by its EXIF orientation.

    Pillow's own conversions make several copies of the whole image. Here, strips of some rows are
    converted one after the other and written to where they belong in the result.

    Args:
        image: An image that is loaded, of any mode but "F"; it is not changed.

    Returns:
        RGB pixels, uint8 [H, W, 3].

    Example:
        >>> upright_rgb(Image.new("L", (2, 1), 7)).tolist()
        [[[7, 7, 7], [7, 7, 7]]]
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    width, height = image.size
    sideways = orientation in _SIDEWAYS
    result = np.empty((width, height, 3) if sideways else (height, width, 3), np.uint8)
    # A view of the result with the rows and columns of the file.
    view = result[:: -1 if orientation in _ROWS_REVERSED else 1]
    view = view[:, :: -1 if orientation in _COLUMNS_REVERSED else 1]
    view = view.transpose(1, 0, 2) if sideways else view
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image if rows >= height else image.crop((0, top, width, bottom))
        view[top:bottom] = _rgb(strip)
    return result


def _rgb(image: Image.Image) -> RGBImage:
    if image.mode in _GRAY_16_BIT_MODES:
        # Pillow clips 16-bit values to 255 instead of scaling them.
        gray: RGBImage = _16_TO_8_BITS[np.asarray(image)][:, :, None]
        return gray
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
