"""JPEGs decoded at a half, a quarter or an eighth of their size, in less time."""

from __future__ import annotations

from collections.abc import Callable

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

# How many times smaller a picture of (height, width) may be decoded.
MaxDownscale = Callable[[tuple[int, int]], int]

# The orientations in which a picture is stored lying on its side.
_SIDEWAYS = (5, 6, 7, 8)


def draft_jpeg(image: Image.Image, max_downscale: MaxDownscale) -> int:
    """Have a picture that is not decoded yet decoded at a part of its size, where that can be.

    Only a JPEG can, at a part that divides both its sides: so the small picture shows what the
    whole one does, to the edge. `spare` is asked about the upright picture.

    Returns:
        How many times smaller it will be: 1, 2, 4 or 8.
    """
    # Colors of half the width but the full height (4:2:2) would come out coarser than the rest.
    if not isinstance(image, JpegImageFile) or not _evenly_sampled(image):
        return 1
    width, height = image.size
    sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    most = max_downscale((width, height) if sideways else (height, width))
    times = next((n for n in (8, 4, 2) if n <= most and width % n == height % n == 0), 1)
    if times > 1:
        image.draft(None, (width // times, height // times))
    return width // image.width


def _evenly_sampled(image: JpegImageFile) -> bool:
    """Whether each of the colors is stored at one scale both ways."""
    most = [max(layer[way] for layer in image.layer) for way in (1, 2)]
    return all(layer[1] * most[1] == layer[2] * most[0] for layer in image.layer)
