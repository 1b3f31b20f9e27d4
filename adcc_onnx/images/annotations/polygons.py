"""Outlines and run lengths as masks, as COCO writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adcc_onnx.images.pixel_arrays import Mask

_Pair = tuple[float, float]


def polygon_mask(outline: Sequence[float], size: tuple[int, int]) -> Mask:
    """The pixels whose centers lie inside an outline x0, y0, x1, y1, ... by the even-odd rule.

    The pixel in row r and column c covers [c, c + 1) x [r, r + 1).

    Raises:
        ValueError: fewer than three points, or a coordinate that is no finite number.
    """
    points = np.asarray(outline, np.float64)
    if points.ndim != 1 or points.size % 2 or points.size < 6 or not np.isfinite(points).all():
        raise ValueError("an outline needs three points or more")
    corners = points.reshape(-1, 2) - 0.5
    mask = np.zeros(size, bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        _cross(mask, start, end)
    return mask


def _cross(mask: Mask, start: np.ndarray, end: np.ndarray) -> None:
    """Turn over, in each row that an edge crosses, the pixels on its right."""
    (x0, y0), (x1, y1) = sorted((tuple(start), tuple(end)), key=lambda p: p[1])
    first, last = max(0, math.ceil(y0)), min(mask.shape[0], math.ceil(y1))
    for row in range(first, last):
        x = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
        mask[row, max(0, math.ceil(x)) :] ^= True


def mask_from_runs(counts: Sequence[int], size: tuple[int, int]) -> Mask:
    """A mask from the lengths of its runs of 0, 1, 0, ..., down the columns.

    Raises:
        ValueError: they do not fill the size.
    """
    runs = np.asarray(counts, np.int64)
    if runs.ndim != 1 or (runs < 0).any() or (runs > math.prod(size)).any():
        raise ValueError("run lengths must be whole numbers within the picture")
    if int(runs.sum()) != math.prod(size):
        raise ValueError(f"runs of {int(runs.sum())} pixels for {size[0]} x {size[1]}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[::-1]).T


def decode_runs(text: str) -> list[int]:
    """Run lengths from COCO's compressed text.

    A number is written in groups of five bits, the lowest first, each as a character from "0" on
    whose sixth bit says that another follows; the fifth of the last is the sign. From the fourth
    number on, what is written is the difference to the number two before.

    Raises:
        ValueError: a character is none of these, or the text ends within a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("no compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths that end within a number")
    return runs
