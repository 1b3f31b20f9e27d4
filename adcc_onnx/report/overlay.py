"""Overlays: attribution maps drawn over their images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import StoreError
from adcc_onnx.explanation.drawing_style import DrawingStyle
from adcc_onnx.images.preprocessing import luminance

Picture = NDArray[np.uint8]
Heat = NDArray[np.float32]
# The edges (left, top, right, bottom) of the mapped region in pixels of the image.
Box = tuple[float, float, float, float]

_DEFAULT = DrawingStyle()
# The brightness of what the model does not see, by its luminance.
_DIMMED = np.rint(0.6 * np.arange(256)).astype(np.uint8)
_STRIP_PIXELS = 2**20


def overlay(
    picture: Picture,
    heat: Heat,
    style: DrawingStyle = _DEFAULT,
    box: Box | None = None,
) -> Picture:
    """Draw a map over its image.

    Every pixel is (1 - alpha) Y + alpha C, rounded, with the luminance Y of the image (ITU-R 601)
    and the color C of the map. The image is drawn without its colors, so that every color is a
    value of the map: on the colored image, an orange would look like a high value.

    Args:
        picture: The image, uint8 RGB, [H, W, 3].
        heat: The map in [0, 1], [h, w].
        style: The opacity alpha and the color map.
        box: The region of the image that the map shows. The map is interpolated bilinearly, and
            the image is dimmed outside. None is the whole image.

    Returns:
        The overlay, uint8 RGB, [H, W, 3].

    Example:
        >>> gray = np.full((4, 4, 3), 128, np.uint8)
        >>> overlay(gray, np.ones((4, 4), np.float32), DrawingStyle(0.5))[0, 0].tolist()
        [190, 180, 82]
        >>> overlay(gray, np.ones((2, 2), np.float32), box=(1, 1, 3, 3))[0, 0].tolist()
        [77, 77, 77]
    """
    blends = _blends(style)
    height, width = picture.shape[:2]
    left, top, right, bottom = edges = (0.0, 0.0, width, height) if box is None else box
    # A pixel belongs to the region if its center does.
    columns = _centers_within(left, right, width)
    gray = luminance(picture)
    drawn = np.repeat(_DIMMED[gray][:, :, None], 3, axis=2)
    for rows in _strips(_centers_within(top, bottom, height), width):
        if columns.start < columns.stop:
            levels = np.rint(np.clip(_stretched(heat, edges, rows, columns), 0.0, 1.0) * 255.0)
            drawn[rows, columns] = blends[gray[rows, columns], levels.astype(np.uint8)]
    return drawn


def colors_of(levels: NDArray[np.uint8], style: DrawingStyle = _DEFAULT) -> Picture:
    """Look up the colors of levels.

    Args:
        levels: Values of a map times 255, uint8, [H, W].
        style: The color map; the opacity does not count.

    Returns:
        The colors, uint8 RGB, [H, W, 3].

    Example:
        >>> colors_of(np.array([[0, 255]], np.uint8)).tolist()
        [[[68, 1, 84], [253, 231, 37]]]
    """
    table = getattr(cv2, f"COLORMAP_{style.colormap.upper()}")
    colors: Picture = cv2.cvtColor(cv2.applyColorMap(levels, table), cv2.COLOR_BGR2RGB)
    return colors


def checked_box(box: Sequence[float], size: Sequence[int]) -> Box:
    """Check the edges of a region.

    Args:
        box: The edges (left, top, right, bottom).
        size: (height, width) of the image.

    Raises:
        ValueError: There are not four edges, or the region is empty or leaves the image.
    """
    if len(box) == 4:
        left, top, right, bottom = (float(edge) for edge in box)
        height, width = size
        if (
            0 <= left <= right - 1
            and 0 <= top <= bottom - 1
            and right <= width
            and bottom <= height
        ):
            return left, top, right, bottom
    raise ValueError(
        f"crop must be (left, top, right, bottom) within the image of {size[0]} x {size[1]} pixels "
        "(height x width) and at least one pixel wide and high"
    )


def exists_error(path: Path) -> StoreError:
    """Return the error of a file that exists and may not be replaced."""
    return StoreError(
        f"{path} exists: choose another folder with -o, or replace files with --force"
    )


def write_png(path: Path, picture: Picture, *, replace: bool = True) -> None:
    """Write an image as PNG.

    Args:
        path: Name of the file.
        picture: The image, uint8 RGB, [H, W, 3].
        replace: Whether an existing file with another content is replaced.

    Raises:
        StoreError: The file cannot be written, or exists and may not be replaced.
    """
    encoded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert encoded
    content = data.tobytes()
    try:
        if not replace and os.path.lexists(path):
            if path.read_bytes() != content:
                raise exists_error(path)
            return
        path.write_bytes(content)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


@lru_cache(maxsize=8)
def _blends(style: DrawingStyle) -> Picture:
    """Tabulate the blend of every luminance with the color of every level, [256, 256, 3]."""
    levels = np.arange(256, dtype=np.uint8)
    colors = colors_of(levels[None], style).astype(np.float64)
    blended = (1.0 - style.alpha) * levels.astype(np.float64)[:, None, None]
    blended = blended + style.alpha * colors
    return np.rint(blended).astype(np.uint8)


def _centers_within(start: float, stop: float, length: int) -> slice:
    """Return the pixels of an axis whose centers lie between two edges."""
    first, last = (min(max(math.ceil(edge - 0.5), 0), length) for edge in (start, stop))
    return slice(first, last)


def _strips(rows: slice, width: int) -> Iterator[slice]:
    """Divide rows into strips of bounded memory."""
    step = max(1, _STRIP_PIXELS // width)
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop))


def _stretched(heat: Heat, edges: Box, rows: slice, columns: slice) -> Heat:
    """Interpolate a map at the centers of some pixels of the image that it is stretched over.

    Pillow's bilinear interpolation has half-pixel centers, as everywhere in this package, and
    averages where the map is finer than the image.
    """
    left, top, right, bottom = edges
    x, y = heat.shape[1] / (right - left), heat.shape[0] / (bottom - top)  # map pixels per pixel
    # The outermost pixels may reach over the edges of the map.
    over_x, over_y = math.ceil(x / 2) + 1, math.ceil(y / 2) + 1
    padded = np.pad(heat, ((over_y, over_y), (over_x, over_x)), mode="edge")
    within = (
        (columns.start - left) * x + over_x,
        (rows.start - top) * y + over_y,
        (columns.stop - left) * x + over_x,
        (rows.stop - top) * y + over_y,
    )
    size = (columns.stop - columns.start, rows.stop - rows.start)
    stretched = Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR, box=within)
    return np.asarray(stretched, np.float32)
