"""Draft mode of JPEG decoding: a half, a quarter or an eighth of the size, in less time."""

from __future__ import annotations

from collections.abc import Callable

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

# Maps the (height, width) of an upright image to the largest factor to downscale it by.
MaxDownscale = Callable[[tuple[int, int]], int]

# EXIF orientations with height and width swapped.
_SIDEWAYS = (5, 6, 7, 8)


def draft_jpeg(image: Image.Image, max_downscale: MaxDownscale) -> int:
    """Choose the size at which an image will be decoded, where its format allows a choice.

    Only JPEGs can be decoded at a reduced size, and only by a factor that divides height and
    width, so that the reduced image shows the same content up to the edges.

    Args:
        image: An opened image that is not decoded yet; its draft mode is set.
        max_downscale: Function from the upright image's (height, width) to the largest factor.

    Returns:
        The downscaling factor: 1, 2, 4 or 8.
    """
    # With 4:2:2 chroma subsampling, chroma would be coarser than luma in one direction.
    if not isinstance(image, JpegImageFile) or not _has_square_subsampling(image):
        return 1
    width, height = image.size
    sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    largest = max_downscale((width, height) if sideways else (height, width))
    factor = next((n for n in (8, 4, 2) if n <= largest and width % n == height % n == 0), 1)
    if factor > 1:
        image.draft(None, (width // factor, height // factor))
    return width // image.width


def _has_square_subsampling(image: JpegImageFile) -> bool:
    """Tell whether each channel is subsampled by the same factor in both directions."""
    largest = [max(layer[axis] for layer in image.layer) for axis in (1, 2)]
    return all(layer[1] * largest[1] == layer[2] * largest[0] for layer in image.layer)
