"""Polygons and run-length encodings as masks, as COCO stores them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adcc_onnx.images.pixel_arrays import Mask


def polygon_mask(outline: Sequence[float], size: tuple[int, int]) -> Mask:
    """Mark the pixels whose centers lie inside a polygon, by the even-odd rule.

    The pixel in row r and column c covers [c, c + 1) x [r, r + 1).

    Args:
        outline: Coordinates x0, y0, x1, y1, ... in pixels.
        size: (height, width) of the image in pixels.

    Returns:
        The mask, bool [H, W].

    Raises:
        ValueError: There are fewer than three points, or a coordinate is not finite.

    Example:
        >>> polygon_mask([1, 0, 3, 0, 3, 2, 1, 2], (2, 4)).astype(int).tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    points = np.asarray(outline, np.float64)
    if points.ndim != 1 or points.size % 2 or points.size < 6 or not np.isfinite(points).all():
        raise ValueError("a polygon needs at least three points with finite coordinates")
    corners = points.reshape(-1, 2) - 0.5
    mask = np.zeros(size, bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        _flip_right_of_edge(mask, start, end)
    return mask


def _flip_right_of_edge(mask: Mask, start: np.ndarray, end: np.ndarray) -> None:
    """Invert the pixels to the right of an edge in each row that it crosses."""
    (x0, y0), (x1, y1) = sorted((tuple(start), tuple(end)), key=lambda p: p[1])
    first, last = max(0, math.ceil(y0)), min(mask.shape[0], math.ceil(y1))
    for row in range(first, last):
        x = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
        mask[row, max(0, math.ceil(x)) :] ^= True


def mask_from_runs(counts: Sequence[int], size: tuple[int, int]) -> Mask:
    """Decode a run-length encoding: lengths of alternating runs of 0 and 1, column by column.

    Args:
        counts: Run lengths in pixels, the first of zeros.
        size: (height, width) of the image in pixels.

    Returns:
        The mask, bool [H, W].

    Raises:
        ValueError: The runs do not add up to the size of the image.

    Example:
        >>> mask_from_runs([1, 2, 1], (2, 2)).astype(int).tolist()
        [[0, 1], [1, 0]]
    """
    runs = np.asarray(counts, np.int64)
    if runs.ndim != 1 or (runs < 0).any() or (runs > math.prod(size)).any():
        raise ValueError("run lengths must be integers from 0 to the number of pixels")
    if int(runs.sum()) != math.prod(size):
        raise ValueError(
            f"the runs have {int(runs.sum())} pixels, but the image has {size[0]} x {size[1]}"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[::-1]).T


def decode_runs(text: str) -> list[int]:
    """Decode run lengths from COCO's compressed text.

    A number is stored as groups of five bits, lowest first. Each group is the character of code
    48 ("0") plus its value; bit 6 says that another group follows, and bit 5 of the last group is
    the sign. From the fourth number on, the text stores the difference to the number two before.

    Args:
        text: The compressed text.

    Returns:
        The run lengths in pixels.

    Raises:
        ValueError: A character is invalid, or the text ends within a number.

    Example:
        >>> decode_runs("12101")
        [1, 2, 1, 2, 2]
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("the compressed run lengths hold an invalid character")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("the compressed run lengths end within a number")
    return runs
