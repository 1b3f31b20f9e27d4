"""Synthetic images (drawings) of one object each, with known shape class and object mask.

Only the shape determines the class: colors, textures, clutter and lighting are independent of it.
Every image has its own random generator, so any image can be drawn without the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.drawings.clutter import Distractor, random_distractors
from adcc_onnx.drawings.outlines import CLASSES, UNIT_OUTLINES, Outline, place_outline
from adcc_onnx.drawings.textures import PixelArray, contrasting_color, random_color, random_texture

__all__ = ["CLASSES", "Drawing", "draw", "draw_many", "label_of_drawing"]

_MIN_AREA, _MAX_AREA = 0.10, 0.24  # area of the object, as a fraction of the image
# Distance of the object's mean color from the background's, in RGB; at most 372 is possible.
_MIN_COLOR_DISTANCE = 120.0
_OVERSAMPLING = 4


@dataclass(frozen=True)
class Drawing:
    """One synthetic image with its ground truth.

    Attributes:
        image: RGB pixels, uint8 [H, W, 3].
        label: Class of the object, an index into `CLASSES`.
        mask: Pixels of the object that no clutter covers, bool [H, W].
    """

    image: NDArray[np.uint8]
    label: int
    mask: NDArray[np.bool_]


def draw(seed: int, index: int, size: int = 112) -> Drawing:
    """Draw one image of a random stream.

    Args:
        seed: Seed of the stream, at least 0.
        index: Position of the image in the stream, at least 0.
        size: Height and width in pixels, at least 32.

    Returns:
        The image, its class and its object mask; equal arguments give equal pixels.

    Example:
        >>> drawing = draw(seed=0, index=3, size=64)
        >>> drawing.image.shape, drawing.mask.shape, CLASSES[drawing.label]
        ((64, 64, 3), (64, 64), 'heart')
    """
    scene, object_, clutter, camera = _generators(seed, index)
    background = random_color(scene)
    canvas = random_texture(scene, size, background)
    behind = random_distractors(clutter, int(clutter.integers(3, 9)))
    in_front = random_distractors(clutter, int(clutter.integers(0, 4)))

    label = int(object_.integers(len(CLASSES)))
    outline = place_outline(object_, UNIT_OUTLINES[label], object_.uniform(_MIN_AREA, _MAX_AREA))
    alpha = _coverage(outline, size)
    color = contrasting_color(object_, background, _MIN_COLOR_DISTANCE)
    paint = random_texture(object_, size, color)

    canvas = _paint_all(canvas, behind)
    canvas += (paint - canvas) * _to_three_channels(alpha)
    canvas = _paint_all(canvas, in_front)
    mask = (alpha >= 0.5) & ~_occluded(in_front, size)
    return Drawing(_photograph(camera, canvas), label, mask)


def label_of_drawing(seed: int, index: int) -> int:
    """Return the class of an image without drawing it.

    Args:
        seed: Seed of the stream, at least 0.
        index: Position of the image in the stream, at least 0.

    Returns:
        The class, an index into `CLASSES`.

    Example:
        >>> label_of_drawing(0, 3) == draw(0, 3).label
        True
    """
    return int(_generators(seed, index)[1].integers(len(CLASSES)))


def draw_many(seed: int, count: int, size: int = 112) -> Iterator[Drawing]:
    """Draw the first images of a random stream, one at a time.

    Args:
        seed: Seed of the stream, at least 0.
        count: Number of images.
        size: Height and width in pixels, at least 32.

    Returns:
        An iterator that draws each image when it is reached.

    Example:
        >>> [drawing.image.shape for drawing in draw_many(seed=0, count=2, size=32)]
        [(32, 32, 3), (32, 32, 3)]
    """
    return (draw(seed, index, size) for index in range(count))


def _generators(seed: int, index: int) -> list[np.random.Generator]:
    """Create generators for the scene, the object (its class first), the clutter, the camera."""
    return np.random.default_rng([seed, index]).spawn(4)


def _coverage(outline: Outline, size: int) -> PixelArray:
    """Compute the fraction of each pixel inside the outline, [size, size] in [0, 1]."""
    fine = size * _OVERSAMPLING
    corners = [np.rint(contour * fine - 0.5).astype(np.int32) for contour in outline]
    inside = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(inside, corners, 255)  # even-odd rule: a second contour is a hole
    mean = cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(mean, np.float32) / np.float32(255)


def _paint_all(canvas: PixelArray, distractors: list[Distractor]) -> PixelArray:
    image = np.rint(canvas).astype(np.uint8)
    for distractor in distractors:
        distractor.paint(image, distractor.color)
    return image.astype(np.float32)


def _occluded(distractors: list[Distractor], size: int) -> NDArray[np.bool_]:
    """Mark the pixels of which distractors hide half or more, [size, size]."""
    hidden = np.zeros((size, size), np.uint8)
    for distractor in distractors:
        distractor.paint(hidden, (255.0,))
    return hidden >= 128


def _to_three_channels(plane: PixelArray) -> PixelArray:
    # OpenCV's copy is several times faster than NumPy's broadcast over a last axis of 3.
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), np.float32)


def _photograph(rng: np.random.Generator, canvas: PixelArray) -> NDArray[np.uint8]:
    """Apply a lighting gradient, a slight Gaussian blur and sensor noise."""
    size = canvas.shape[0]
    across, down = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    at = np.linspace(-1, 1, size, dtype=np.float32)
    light = 1 + across * at[None, :] + down * at[:, None]
    blurred = cv2.GaussianBlur(canvas * _to_three_channels(light), (0, 0), rng.uniform(0.4, 0.9))
    grain = rng.standard_normal((size, size, 3), np.float32) * np.float32(rng.uniform(1, 8))
    return np.asarray(np.clip(np.rint(blurred + grain), 0, 255), np.uint8)
