"""Drawn images with one object of a known shape class each, and the object's mask.

Only the shape tells the class: colors, textures, clutter and light are drawn without looking at
it. Every image comes from random numbers of its own, so any of them can be drawn alone.
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

_LEAST_AREA, _MOST_AREA = 0.10, 0.24  # of the object, as fractions of the image
_APART = 120.0  # the object's mean color from the background's, of at most 372
_OVERSAMPLING = 4


@dataclass(frozen=True)
class Drawing:
    """One image.

    Attributes:
        image: RGB, uint8 [H, W, 3].
        label: the class of its object, an index into `CLASSES`.
        mask: the object's pixels that no clutter covers, bool [H, W].
    """

    image: NDArray[np.uint8]
    label: int
    mask: NDArray[np.bool_]


def draw(seed: int, index: int, size: int = 112) -> Drawing:
    """The image number `index` of the stream `seed` (both >= 0), `size` x `size` pixels (>= 32)."""
    scene, thing, clutter, camera = _streams(seed, index)
    ground = random_color(scene)
    canvas = random_texture(scene, size, ground)
    behind = random_distractors(clutter, int(clutter.integers(3, 9)))
    before = random_distractors(clutter, int(clutter.integers(0, 4)))

    label = int(thing.integers(len(CLASSES)))
    outline = place_outline(thing, UNIT_OUTLINES[label], thing.uniform(_LEAST_AREA, _MOST_AREA))
    cover = _coverage(outline, size)
    paint = random_texture(thing, size, contrasting_color(thing, ground, _APART))

    canvas = _painted(canvas, behind)
    canvas += (paint - canvas) * _three_channels(cover)
    canvas = _painted(canvas, before)
    mask = (cover >= 0.5) & ~_covered(before, size)
    return Drawing(_photograph(camera, canvas), label, mask)


def label_of_drawing(seed: int, index: int) -> int:
    """The class of the image number `index` of the stream `seed`, which is not drawn for it."""
    return int(_streams(seed, index)[1].integers(len(CLASSES)))


def draw_many(seed: int, count: int, size: int = 112) -> Iterator[Drawing]:
    """The first `count` images of the stream `seed`, drawn as they are asked for."""
    return (draw(seed, index, size) for index in range(count))


def _streams(seed: int, index: int) -> list[np.random.Generator]:
    """Random numbers for the scene, the object (its class first), the clutter and the camera."""
    return np.random.default_rng([seed, index]).spawn(4)


def _coverage(outline: Outline, size: int) -> PixelArray:
    """How much of every pixel lies inside the outline, [size, size] in [0, 1]."""
    fine = size * _OVERSAMPLING
    corners = [np.rint(contour * fine - 0.5).astype(np.int32) for contour in outline]
    inside = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(inside, corners, 255)  # even-odd: a second contour is a hole
    mean = cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(mean, np.float32) / np.float32(255)


def _painted(canvas: PixelArray, things: list[Distractor]) -> PixelArray:
    image = np.rint(canvas).astype(np.uint8)
    for thing in things:
        thing.paint(image, thing.color)
    return image.astype(np.float32)


def _covered(things: list[Distractor], size: int) -> NDArray[np.bool_]:
    """The pixels of which the things hide half or more, [size, size]."""
    hidden = np.zeros((size, size), np.uint8)
    for thing in things:
        thing.paint(hidden, (255.0,))
    return hidden >= 128


def _three_channels(plane: PixelArray) -> PixelArray:
    # OpenCV's copy is several times faster than NumPy's broadcast over a last axis of 3.
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), np.float32)


def _photograph(rng: np.random.Generator, canvas: PixelArray) -> NDArray[np.uint8]:
    """Light from one side, a lens that is not quite sharp, and a sensor's noise."""
    size = canvas.shape[0]
    across, down = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    at = np.linspace(-1, 1, size, dtype=np.float32)
    light = 1 + across * at[None, :] + down * at[:, None]
    blurred = cv2.GaussianBlur(canvas * _three_channels(light), (0, 0), rng.uniform(0.4, 0.9))
    grain = rng.standard_normal((size, size, 3), np.float32) * np.float32(rng.uniform(1, 8))
    return np.asarray(np.clip(np.rint(blurred + grain), 0, 255), np.uint8)
