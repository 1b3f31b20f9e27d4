"""Overlays: attribution maps blended over their images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import StoreError

Picture = NDArray[np.uint8]

_OPACITY = 0.55
_MARGIN, _CAPTION = 6, 22  # pixels
_SMALLEST = 160  # pixels; panels of smaller images are enlarged to this width


def overlay(picture: Picture, heat: NDArray[np.float32]) -> Picture:
    """Blend a map over its image.

    The colors are matplotlib's inferno, which is perceptually uniform: equal steps of the map
    look equal, whereas a rainbow color map shows edges that do not exist.

    Args:
        picture: The image, uint8 RGB, [H, W, 3].
        heat: The map in [0, 1], [H, W].

    Returns:
        The blended image, uint8 RGB, [H, W, 3].

    Example:
        >>> import numpy as np
        >>> gray = np.full((4, 4, 3), 128, np.uint8)
        >>> overlay(gray, np.ones((4, 4), np.float32))[0, 0].tolist()
        [196, 198, 148]
    """
    levels = np.round(np.clip(heat, 0.0, 1.0) * 255.0).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    blended: Picture = cv2.addWeighted(colors, _OPACITY, picture, 1.0 - _OPACITY, 0.0)
    return blended


def sheet(picture: Picture, maps: Mapping[str, NDArray[np.float32]]) -> Picture:
    """Arrange an image and its overlays side by side, with captions.

    Args:
        picture: The image, uint8 RGB, [H, W, 3].
        maps: Maps in [0, 1], [H, W], by the name of their method.

    Returns:
        The sheet, uint8 RGB.
    """
    panels = [_panel(picture, "image")]
    panels += [_panel(overlay(picture, heat), name) for name, heat in maps.items()]
    joined: Picture = np.concatenate(panels, axis=1)
    return joined


def write_png(path: Path, picture: Picture) -> None:
    """Write an image as PNG.

    Args:
        path: Name of the file.
        picture: The image, uint8 RGB, [H, W, 3].

    Raises:
        StoreError: The file cannot be written.
    """
    encoded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert encoded
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def _panel(picture: Picture, name: str) -> Picture:
    """Add a margin and a caption to an image."""
    factor = max(1, -(-_SMALLEST // picture.shape[1]))
    enlarged = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    framed = cv2.copyMakeBorder(
        enlarged, _MARGIN, _CAPTION, _MARGIN, _MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    place = (_MARGIN, framed.shape[0] - _MARGIN)
    cv2.putText(framed, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    captioned: Picture = framed
    return captioned
