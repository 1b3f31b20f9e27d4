"""Masks of objects as pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from adcc_onnx.images.decoding import opened
from adcc_onnx.images.files import read_bytes
from adcc_onnx.images.rectangles import require_size
from adcc_onnx.images.source import Draw, Mask


class PngMasks:
    """A folder of `NAME.png`: every pixel that is not 0 is the object's.

    Of a palette the index counts, of colours any one, and no transparency. (Pascal VOC's
    segmentations draw a contour of index 255: it counts as the object's.)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, stem: str) -> Draw | None:
        path = self._folder / f"{stem}.png"
        return partial(_read, path) if path.is_file() else None


def _read(path: Path, size: tuple[int, int]) -> Mask:
    with opened(read_bytes(path, path.name), path.name, ("PNG",)) as image:
        colours = len(image.getbands()) - ("A" in image.getbands())
        values = np.asarray(image)
    require_size(path.name, values.shape[:2], size)
    flat = values.reshape(*size, -1)[:, :, :colours]
    return np.asarray(flat.any(axis=2))
