"""Where the objects of a source's images are, from annotations that lie apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import SourceError
from adcc_onnx.images.annotations.coco import CocoAnnotations
from adcc_onnx.images.annotations.masks import read_mask_image
from adcc_onnx.images.annotations.voc import read_voc_mask
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale
from adcc_onnx.images.pixel_arrays import Mask
from adcc_onnx.images.sources.image_source import DrawMask, Load, LoadDownscaled, Record, Source


class Annotations(Protocol):
    """What is known of some images, by the names of their files without the suffix."""

    def find(self, stem: str) -> DrawMask | None:
        """The mask of an image as a function of its size; None where nothing is known."""


def with_ground_truth(source: Source, spec: Path) -> Source:
    """The images of a source with the pixels of their objects.

    `spec` is a folder of Pascal VOC boxes (`NAME.xml`) or of masks (`NAME.png`), or a COCO file
    (`.json`): see docs/localization.md. NAME is the image's name without its suffix, with its
    folders ("cat/1") or, where no other image is called so, without ("1"). Objects of all classes
    count: where an image shows several, give annotations of the explained ones only.

    Raises:
        SourceError: no such place, not one kind of annotations, or none for any image.
    """
    annotations, shared = _open(spec), _repeated_stems(source.names)

    def find(name: str) -> DrawMask | None:
        found = (annotations.find(stem) for stem in _stems(name, shared))
        return next((draw for draw in found if draw is not None), None)

    if not any(find(name) for name in source.names):
        raise SourceError(f"{spec} annotates no image of the source, such as {source.names[0]}")

    def read(positions: Iterable[int]) -> Iterator[Record]:
        return (
            _known(record, find(record.name), source.preprocessed)
            for record in source.at(positions)
        )

    return replace(source, read=read)


def _open(spec: Path) -> Annotations:
    if not spec.exists():
        raise SourceError(f"no such file or folder of annotations: {spec}")
    if spec.suffix.lower() == ".json":
        return CocoAnnotations(spec)
    if not spec.is_dir():
        raise SourceError(f"{spec} is neither a folder of .xml or .png nor a COCO file (.json)")
    boxes, masks = (any(spec.rglob(f"*{suffix}")) for suffix in (".xml", ".png"))
    if boxes == masks:
        held = "both boxes (.xml) and" if boxes else "neither boxes (.xml) nor"
        raise SourceError(f"{spec} holds {held} masks (.png)")
    return _Folder(spec, ".xml", read_voc_mask) if boxes else _Folder(spec, ".png", read_mask_image)


@dataclass(frozen=True)
class _Folder:
    """A file an image, read when the image's truth is asked for."""

    folder: Path
    suffix: str
    read: Callable[[Path, tuple[int, int]], Mask]

    def find(self, stem: str) -> DrawMask | None:
        path = self.folder / f"{stem}{self.suffix}"
        return partial(self.read, path) if path.is_file() else None


def _repeated_stems(names: Sequence[str]) -> set[str]:
    """The stems of more than one image."""
    met: set[str] = set()
    repeated: set[str] = set()
    for name in names:
        stem = PurePosixPath(name).stem
        (repeated if stem in met else met).add(stem)
    return repeated


def _stems(name: str, repeated: set[str]) -> Iterator[str]:
    """What the annotation of an image may be called; never a path that leads elsewhere."""
    place = PurePosixPath(name)
    if not place.is_absolute() and ".." not in place.parts:
        yield str(place.with_name(place.stem))
    if place.stem not in repeated:
        yield place.stem


def _known(record: Record, draw: DrawMask | None, ready: bool) -> Record:
    if draw is None:
        return record
    picture = _Picture(record.load, record.load_downscaled, ready)
    return replace(
        record,
        load=picture.load,
        truth=partial(_drawn, draw, picture),
        load_downscaled=None if record.load_downscaled is None else picture.load_downscaled,
    )


class _Picture:
    """A record's picture, which remembers its size, so that the truth needs no second decoding."""

    def __init__(self, load: Load, reduced: LoadDownscaled | None, ready: bool) -> None:
        self._load, self._reduced, self._ready = load, reduced, ready
        self._size: tuple[int, int] | None = None

    def load(self) -> NDArray[Any]:
        picture = self._load()
        height, width = picture.shape[1:] if self._ready else picture.shape[:2]
        self._size = (height, width)
        return picture

    def load_downscaled(self, max_downscale: MaxDownscale) -> tuple[NDArray[np.uint8], int]:
        assert self._reduced is not None
        picture, times = self._reduced(max_downscale)
        self._size = (times * picture.shape[0], times * picture.shape[1])
        return picture, times

    def size(self) -> tuple[int, int]:
        """(height, width) of the whole picture."""
        if self._size is None:
            self.load()
        assert self._size is not None
        return self._size


def _drawn(draw: DrawMask, picture: _Picture) -> Mask:
    return draw(picture.size())
