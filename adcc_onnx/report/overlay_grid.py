"""Grids: an image and its overlays side by side, with captions and a color bar."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adcc_onnx.explanation.drawing_style import DrawingStyle
from adcc_onnx.report.overlay import Box, Heat, Picture, colors_of, overlay

# Pixels. A panel's longer side has _PANEL, unless its shorter side would be below _SHORTEST.
_PANEL, _SHORTEST, _LONGEST = 320, 120, 640
_NARROWEST_CELL = 170  # fits the names of most methods
_MARGIN, _BAR = 12, 16
_WIDEST = 1500
_TITLE_SIZE, _TEXT_SIZE = 18, 15
_WHITE, _BLACK, _GRAY = (255, 255, 255), (20, 20, 20), (90, 90, 90)
# Smaller images are enlarged without interpolation, so that their pixels can be seen.
_LOW_RESOLUTION = 100

_DEFAULT = DrawingStyle()

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_grid(
    picture: Picture,
    heats: Mapping[str, Heat],
    titles: Sequence[str] = (),
    style: DrawingStyle = _DEFAULT,
    box: Box | None = None,
) -> Picture:
    """Arrange an image and its overlays in a grid.

    Args:
        picture: The image, uint8 RGB, [H, W, 3]. It is scaled to about 320 pixels, and an image
            that is more than four times as long as wide is cut to the region of the maps.
        heats: Maps in [0, 1], [h, w], by their captions.
        titles: Lines of text above the panels; long lines are shortened.
        style: The opacity of the maps and the color map.
        box: The region of the image that the maps show, as for `overlay`.

    Returns:
        The grid, uint8 RGB.

    Example:
        >>> heat = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
        >>> draw_grid(np.zeros((28, 28, 3), np.uint8), {"gradcam": heat}, ["digit 7"]).shape
        (377, 692, 3)
    """
    small, region = _panel_sized(picture, box)
    drawn = {name: overlay(small, heat, style, region) for name, heat in heats.items()}
    panels = {"image": small, **drawn}
    height, cell = small.shape[0], max(small.shape[1], _NARROWEST_CELL)
    columns = min(len(panels), max(2, _WIDEST // (cell + _MARGIN)))
    rows = math.ceil(len(panels) / columns)
    columns = math.ceil(len(panels) / rows)  # rows of about equal length
    line, caption = _TITLE_SIZE + 8, _TEXT_SIZE + 10
    top = _MARGIN + line * len(titles)
    width = _MARGIN + columns * (cell + _MARGIN) + _BAR + 2 * _MARGIN
    canvas = Image.new("RGB", (width, top + rows * (height + caption) + _MARGIN // 2), _WHITE)
    for i, title in enumerate(titles):
        color, size = (_BLACK, _TITLE_SIZE) if i == 0 else (_GRAY, _TEXT_SIZE)
        _write(canvas, (_MARGIN, _MARGIN + line * i), title, size, width - 2 * _MARGIN, color)
    for i, (name, panel) in enumerate(panels.items()):
        x, y = _MARGIN + (i % columns) * (cell + _MARGIN), top + i // columns * (height + caption)
        canvas.paste(Image.fromarray(panel), (x, y))
        _write(canvas, (x, y + height + 3), name, _TEXT_SIZE, cell)
    _draw_color_bar(canvas, (width - _BAR - 2 * _MARGIN, top), height, style)
    return np.asarray(canvas)


def _draw_color_bar(
    canvas: Image.Image, corner: tuple[int, int], height: int, style: DrawingStyle
) -> None:
    """Draw the color map from 1 at the top to 0 at the bottom, with these numbers beside it."""
    x, y = corner
    levels = np.rint(np.linspace(255, 0, height)).astype(np.uint8)
    bar = np.repeat(levels[:, None], _BAR, axis=1)
    canvas.paste(Image.fromarray(colors_of(bar, style)), corner)
    _write(canvas, (x + _BAR + 4, y), "1", _TEXT_SIZE, _MARGIN)
    _write(canvas, (x + _BAR + 4, y + height - _TEXT_SIZE - 3), "0", _TEXT_SIZE, _MARGIN)


def _panel_sized(picture: Picture, box: Box | None) -> tuple[Picture, Box]:
    """Scale an image to the size of a panel; returns it with the region of the maps in it."""
    height, width = picture.shape[:2]
    left, top, right, bottom = box or (0.0, 0.0, width, height)
    if max(height, width) > 4 * min(height, width) and box is not None:
        x, y = math.floor(left), math.floor(top)
        picture = picture[y : math.ceil(bottom), x : math.ceil(right)]
        left, top, right, bottom = left - x, top - y, right - x, bottom - y
        height, width = picture.shape[:2]
    longer, shorter = max(height, width), min(height, width)
    factor = min(max(_PANEL / longer, _SHORTEST / shorter), _LONGEST / longer)
    pixelated = longer <= _LOW_RESOLUTION
    if pixelated:
        factor = max(1, round(factor))
    size = max(1, round(factor * width)), max(1, round(factor * height))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST if pixelated else cv2.INTER_CUBIC
    scaled: Picture = cv2.resize(picture, size, interpolation=how)
    x_factor, y_factor = size[0] / width, size[1] / height
    return scaled, (left * x_factor, top * y_factor, right * x_factor, bottom * y_factor)


def _write(
    canvas: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    width: int,
    color: tuple[int, int, int] = _BLACK,
) -> None:
    """Write a line of text, shortened to a width in pixels."""
    font = _font(size)
    line = shortened(drawable(text), width, font)
    ImageDraw.Draw(canvas).text(place, line, fill=color, font=font)


def shortened(text: str, width: float, font: Font) -> str:
    """Remove the middle of a text that is too long.

    Args:
        text: The text.
        width: Largest width in pixels.
        font: The font.

    Example:
        >>> shortened("smoothgradcam++(n=25)", 100, ImageFont.load_default(size=15))
        'smooth…n=25)'
    """
    text = text[:1000]  # no line shows more
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text) - 1  # characters that are kept
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(_without_middle(text, middle)) <= width:
            low = middle
        else:
            high = middle - 1
    return _without_middle(text, low)


def drawable(text: str) -> str:
    """Replace the characters that Pillow's own font lacks: it covers ASCII only.

    Args:
        text: Text that may hold names from untrusted files.

    Example:
        >>> drawable("Bär (熊)")
        'Bar (?)'
    """
    plain = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


@lru_cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)
