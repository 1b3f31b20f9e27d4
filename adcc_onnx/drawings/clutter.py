"""Small distractors that belong to no class: strokes, scribbles and blobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.drawings.textures import random_color

_SUBPIXELS = 4  # fractional bits of the fixed-point coordinates that OpenCV takes


@dataclass(frozen=True)
class Distractor:
    """A line or a filled polygon.

    Attributes:
        points: Vertices (x, y) in the unit square, [n, 2].
        width: Line width as a fraction of the image's side; 0 draws a filled polygon.
        color: RGB, each channel in 0..255.
    """

    points: NDArray[np.float64]
    width: float
    color: tuple[float, float, float]

    def paint(self, canvas: NDArray[np.uint8], ink: tuple[float, ...]) -> None:
        """Draw the distractor on a canvas, antialiased.

        Args:
            canvas: Square image, [H, H] or [H, H, 3], changed in place.
            ink: Color, one value per channel.
        """
        size = canvas.shape[0]
        fixed = np.rint((self.points * size - 0.5) * 2**_SUBPIXELS).astype(np.int32)
        if self.width:
            thick = max(1, round(self.width * size))
            cv2.polylines(canvas, [fixed], False, ink, thick, cv2.LINE_AA, _SUBPIXELS)
        else:
            cv2.fillPoly(canvas, [fixed], ink, cv2.LINE_AA, _SUBPIXELS)


def _stroke(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Draw the points and the width of a short straight line."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.22)
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    return np.stack([-half, half]), rng.uniform(0.01, 0.03)


def _scribble(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Draw the points and the width of a thin random walk."""
    headings = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.9, 9))
    steps = np.stack([np.cos(headings), np.sin(headings)], axis=1) * rng.uniform(0.02, 0.035)
    return np.cumsum(steps, axis=0), rng.uniform(0.01, 0.018)


def _blob(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Draw the points and the width (0: filled) of a small irregular spot."""
    angles = np.arange(9) * (2 * np.pi / 9)
    radii = rng.uniform(0.02, 0.045) * rng.uniform(0.5, 1.2, 9)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None], 0.0


_KINDS: tuple[Callable[[np.random.Generator], tuple[NDArray[np.float64], float]], ...] = (
    _stroke,
    _scribble,
    _blob,
)


def random_distractors(rng: np.random.Generator, count: int) -> list[Distractor]:
    """Draw random distractors at random positions.

    Args:
        rng: Random number generator.
        count: Number of distractors.

    Returns:
        The distractors; none covers more than 1 % of the image.
    """
    found = []
    for kind in rng.integers(len(_KINDS), size=count):
        points, width = _KINDS[kind](rng)
        red, green, blue = random_color(rng).tolist()
        found.append(Distractor(points + rng.uniform(0.0, 1.0, 2), width, (red, green, blue)))
    return found
