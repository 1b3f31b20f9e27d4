"""Boxes as masks, and what an annotation must keep to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from adcc_onnx.errors import ImageError
from adcc_onnx.images.pixel_arrays import Mask


@dataclass(frozen=True)
class Box:
    """Pixels by their numbers from 0: rows top to bottom, columns left to right, ends included."""

    left: float
    top: float
    right: float
    bottom: float


def box_mask(boxes: Iterable[Box], size: tuple[int, int], name: str) -> Mask:
    """The pixels of all the boxes that lie in a picture of (height, width).

    Raises:
        ImageError: a box ends before it begins, or lies wholly outside.
    """
    mask = np.zeros(size, bool)
    for box in boxes:
        numbers = (box.left, box.top, box.right, box.bottom)
        if not all(math.isfinite(n) for n in numbers):
            raise ImageError(f"{name}: a box is not of numbers")
        if _beside(box.top, box.bottom, size[0]) or _beside(box.left, box.right, size[1]):
            shown = ", ".join(f"{n:g}" for n in numbers)
            raise ImageError(f"{name}: a box ({shown}) is turned round or outside the picture")
        mask[_span(box.top, box.bottom, size[0]), _span(box.left, box.right, size[1])] = True
    return mask


def check_image_size(name: str, found: tuple[float, ...], size: tuple[int, int]) -> None:
    """An annotation must be of a picture of this (height, width).

    Raises:
        ImageError: it is of another.
    """
    if tuple(found) != size:
        raise ImageError(
            f"{name} is of a picture of {_shown(found)} pixels (height x width), not {_shown(size)}"
        )


def _beside(first: float, last: float, length: int) -> bool:
    return last <= -1 or first >= length or last <= first - 1


def _span(first: float, last: float, length: int) -> slice:
    """Between two pixels' centers there may be none."""
    return slice(max(0, math.ceil(first)), max(0, min(length, math.floor(last) + 1)))


def _shown(size: tuple[float, ...]) -> str:
    return " x ".join(f"{length:g}" for length in size)
