"""Drawings as a source of any size: their classes and the places of their objects are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.drawings.generate import CLASSES, draw, label_of_drawing
from adcc_onnx.errors import SourceError
from adcc_onnx.images.sources.image_source import Record, Source

_SPEC = re.compile(r"drawings:([0-9]{1,9})(?:@([0-9]{1,9}))?")
_SIZE = 112  # pixels
# Unseen by the built-in classifier, which is trained on another seed.
_SEED = 2026


def is_drawings_spec(spec: str) -> bool:
    """Whether a place is no place on disk, but `drawings:COUNT` or `drawings:COUNT@SEED`."""
    return spec.startswith("drawings:")


def drawings_source(spec: str) -> Source:
    """The drawings of a specification, drawn as they are asked for.

    Raises:
        SourceError: it is not of the form above, or asks for none.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or int(match[1]) == 0:
        raise SourceError(
            f"'{spec}' is not understood: write drawings:COUNT or drawings:COUNT@SEED"
        )
    count, seed = int(match[1]), int(match[2] or _SEED)

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for i in positions:
            picture, truth = partial(_picture, seed, i), partial(_truth, seed, i)
            yield Record(names[i], labels[i], picture, truth)

    names = [f"{seed}-{i}" for i in range(count)]
    labels = [CLASSES[label_of_drawing(seed, i)] for i in range(count)]
    return Source(names, labels, read)


def _picture(seed: int, index: int) -> NDArray[np.uint8]:
    return draw(seed, index, _SIZE).image


def _truth(seed: int, index: int) -> NDArray[np.bool_]:
    return draw(seed, index, _SIZE).mask
