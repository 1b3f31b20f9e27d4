"""Bounding boxes as masks, and the size check of annotations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from adcc_onnx.errors import ImageError
from adcc_onnx.images.pixel_arrays import Mask


@dataclass(frozen=True)
class Box:
    """A bounding box in pixel indices from 0; both ends belong to the box.

    Attributes:
        left: First column.
        top: First row.
        right: Last column.
        bottom: Last row.
    """

    left: float
    top: float
    right: float
    bottom: float


def box_mask(boxes: Iterable[Box], size: tuple[int, int], name: str) -> Mask:
    """Mark the pixels of an image that lie in any of the boxes.

    Args:
        boxes: The boxes; parts outside the image are ignored.
        size: (height, width) of the image in pixels.
        name: Name of the annotation, for error messages.

    Returns:
        The union of the boxes, bool [H, W].

    Raises:
        ImageError: A box has its ends in reverse order, lies entirely outside the image, or holds
            a coordinate that is not finite.

    Example:
        >>> box_mask([Box(1, 0, 2, 0)], (2, 4), "a.xml").astype(int).tolist()
        [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros(size, bool)
    for box in boxes:
        ends = (box.left, box.top, box.right, box.bottom)
        if not all(math.isfinite(end) for end in ends):
            raise ImageError(f"{name}: a box has a coordinate that is not a finite number")
        if _is_outside(box.top, box.bottom, size[0]) or _is_outside(box.left, box.right, size[1]):
            listed = ", ".join(f"{end:g}" for end in ends)
            raise ImageError(
                f"{name}: the box ({listed}) has its ends in reverse order or is outside the image"
            )
        mask[_span(box.top, box.bottom, size[0]), _span(box.left, box.right, size[1])] = True
    return mask


def check_image_size(name: str, found: tuple[float, ...], size: tuple[int, int]) -> None:
    """Check that an annotation belongs to an image of the given size.

    Args:
        name: Name of the annotation, for error messages.
        found: (height, width) that the annotation declares, in pixels.
        size: (height, width) of the image in pixels.

    Raises:
        ImageError: The sizes differ.
    """
    if tuple(found) != size:
        raise ImageError(
            f"{name} annotates an image of {_format_size(found)} pixels (height x width), "
            f"not {_format_size(size)}"
        )


def _is_outside(first: float, last: float, length: int) -> bool:
    return last <= -1 or first >= length or last <= first - 1


def _span(first: float, last: float, length: int) -> slice:
    """Return the pixels whose centers lie in [first, last]: none if it falls between two."""
    return slice(max(0, math.ceil(first)), max(0, min(length, math.floor(last) + 1)))


def _format_size(size: tuple[float, ...]) -> str:
    return " x ".join(f"{length:g}" for length in size)
