"""Random colored textures: uniform, stripes, checks, dots and noise."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

# Unrounded pixel values: a color [3], a plane [H, W] or an image [H, W, 3].
PixelArray = NDArray[np.float32]

_MAX_CONTRAST = 80.0  # largest amplitude of a texture in one color channel, of 255


def _uniform(rng: np.random.Generator, size: int) -> PixelArray:
    return np.full((size, size), 0.5, np.float32)


def _waves(rng: np.random.Generator, size: int) -> tuple[PixelArray, PixelArray]:
    """Draw two perpendicular sine waves, each in [-1, 1]."""
    angle, phase_u, phase_v = rng.uniform(0, 2 * np.pi, 3)
    turns = rng.uniform(4, 14)
    at = np.arange(size, dtype=np.float32) * np.float32(2 * np.pi * turns / size)
    x, y = at[None, :], at[:, None]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = np.sin(x * cos + y * sin + np.float32(phase_u))
    across = np.sin(y * cos - x * sin + np.float32(phase_v))
    return along, across


def _sharp(wave: PixelArray) -> PixelArray:
    """Turn a wave into a pattern with steep edges, in [0, 1]."""
    step: PixelArray = np.clip(wave * np.float32(2.5) + np.float32(0.5), 0, 1)
    return step


def _stripes(rng: np.random.Generator, size: int) -> PixelArray:
    return _sharp(_waves(rng, size)[0])


def _checks(rng: np.random.Generator, size: int) -> PixelArray:
    along, across = _waves(rng, size)
    return _sharp(along * across)


def _dots(rng: np.random.Generator, size: int) -> PixelArray:
    along, across = _waves(rng, size)
    return _sharp(along + across - np.float32(0.6))


def _noise(rng: np.random.Generator, size: int) -> PixelArray:
    cells = int(rng.integers(4, 28))
    coarse = rng.random((cells, cells), np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 0, 1), np.float32)


_PATTERNS: tuple[Callable[[np.random.Generator, int], PixelArray], ...] = (
    _uniform,
    _stripes,
    _checks,
    _dots,
    _noise,
)


def random_color(rng: np.random.Generator) -> PixelArray:
    """Draw a random color.

    Args:
        rng: Random number generator.

    Returns:
        RGB, [3], each channel in [20, 235).
    """
    return rng.uniform(20, 235, 3).astype(np.float32)


def contrasting_color(rng: np.random.Generator, other: PixelArray, distance: float) -> PixelArray:
    """Draw a random color that differs from another one.

    Args:
        rng: Random number generator.
        other: Color to differ from, RGB [3] in 0..255.
        distance: Smallest Euclidean distance in RGB, below 180.

    Returns:
        RGB, [3].
    """
    while True:
        found = random_color(rng)
        if np.linalg.norm(found - other) >= distance:
            return found


def random_texture(rng: np.random.Generator, size: int, base: PixelArray) -> PixelArray:
    """Draw a random pattern with a given mean color.

    Args:
        rng: Random number generator.
        size: Height and width in pixels.
        base: Mean color, RGB [3] in 0..255.

    Returns:
        The texture, [size, size, 3] in 0..255.
    """
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng, size)
    amplitude = rng.uniform(-_MAX_CONTRAST, _MAX_CONTRAST, 3).astype(np.float32)
    painted = base[:, None, None] + (pattern - np.float32(0.5)) * amplitude[:, None, None]
    return np.asarray(cv2.merge(list(np.clip(painted, 0, 255))), np.float32)
