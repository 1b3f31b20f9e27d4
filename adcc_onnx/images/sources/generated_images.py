"""Synthetic drawings as a source of any size, with known classes and object masks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.drawings.generate import draw, label_of_drawing
from adcc_onnx.drawings.outlines import CLASSES
from adcc_onnx.errors import SourceError
from adcc_onnx.images.sources.image_source import Record, Source

_SPEC = re.compile(r"drawings:([0-9]{1,9})(?:@([0-9]{1,9}))?")
_SIZE = 112  # height and width in pixels
# The built-in classifier was trained on another seed.
_DEFAULT_SEED = 2026


def is_drawings_spec(spec: str) -> bool:
    """Tell whether a specification names drawings instead of a path.

    Args:
        spec: Specification of a source.

    Returns:
        True if it begins with `drawings:`.

    Example:
        >>> is_drawings_spec("drawings:4"), is_drawings_spec("photos/drawings")
        (True, False)
    """
    return spec.startswith("drawings:")


def drawings_source(spec: str) -> Source:
    """Open a source of drawings, each generated when it is loaded.

    Args:
        spec: `drawings:COUNT` or `drawings:COUNT@SEED`.

    Returns:
        The drawings, labeled by class name, with ground-truth masks.

    Raises:
        SourceError: The specification has another form, or its count is 0.

    Example:
        >>> source = drawings_source("drawings:3@7")
        >>> list(source.names)
        ['7-0', '7-1', '7-2']
        >>> next(iter(source)).load().shape
        (112, 112, 3)
    """
    match = _SPEC.fullmatch(spec)
    if match is None or int(match[1]) == 0:
        raise SourceError(f"invalid source '{spec}': write drawings:COUNT or drawings:COUNT@SEED")
    count, seed = int(match[1]), int(match[2] or _DEFAULT_SEED)

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for i in positions:
            yield Record(names[i], labels[i], partial(_image, seed, i), partial(_mask, seed, i))

    names = [f"{seed}-{i}" for i in range(count)]
    labels = [CLASSES[label_of_drawing(seed, i)] for i in range(count)]
    return Source(names, labels, read)


def _image(seed: int, index: int) -> NDArray[np.uint8]:
    return draw(seed, index, _SIZE).image


def _mask(seed: int, index: int) -> NDArray[np.bool_]:
    return draw(seed, index, _SIZE).mask
