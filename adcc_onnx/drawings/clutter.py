"""Small distractors that belong to no class: strokes, scribbles and blobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.drawings.textures import random_color

_SUBPIXELS = 4  # bits after the binary point of the coordinates given to OpenCV


@dataclass(frozen=True)
class Distractor:
    """A thing to draw: points [n, 2] in the unit square, filled (width 0) or a line so wide."""

    points: NDArray[np.float64]
    width: float
    color: tuple[float, float, float]

    def paint(self, canvas: NDArray[np.uint8], ink: tuple[float, ...]) -> None:
        """Draw it on `canvas` [H, H] or [H, H, 3] in the color `ink`, smooth at the edges."""
        size = canvas.shape[0]
        fixed = np.rint((self.points * size - 0.5) * 2**_SUBPIXELS).astype(np.int32)
        if self.width:
            thick = max(1, round(self.width * size))
            cv2.polylines(canvas, [fixed], False, ink, thick, cv2.LINE_AA, _SUBPIXELS)
        else:
            cv2.fillPoly(canvas, [fixed], ink, cv2.LINE_AA, _SUBPIXELS)


def _stroke(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """A short straight line."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.22)
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    return np.stack([-half, half]), rng.uniform(0.01, 0.03)


def _scribble(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """A thin line that wanders."""
    headings = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.9, 9))
    steps = np.stack([np.cos(headings), np.sin(headings)], axis=1) * rng.uniform(0.02, 0.035)
    return np.cumsum(steps, axis=0), rng.uniform(0.01, 0.018)


def _blob(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """A small filled spot of no regular form."""
    angles = np.arange(9) * (2 * np.pi / 9)
    radii = rng.uniform(0.02, 0.045) * rng.uniform(0.5, 1.2, 9)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None], 0.0


_KINDS: tuple[Callable[[np.random.Generator], tuple[NDArray[np.float64], float]], ...] = (
    _stroke,
    _scribble,
    _blob,
)


def random_distractors(rng: np.random.Generator, count: int) -> list[Distractor]:
    """So many random distractors at random places; none covers more than 1 % of the image."""
    found = []
    for kind in rng.integers(len(_KINDS), size=count):
        points, width = _KINDS[kind](rng)
        red, green, blue = random_color(rng).tolist()
        found.append(Distractor(points + rng.uniform(0.0, 1.0, 2), width, (red, green, blue)))
    return found
