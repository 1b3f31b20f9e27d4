"""Ground-truth masks for the images of a source, from separate annotation files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from numpy.typing import NDArray

from adcc_onnx.errors import SourceError
from adcc_onnx.images.annotations.coco import CocoAnnotations
from adcc_onnx.images.annotations.masks import read_mask_image
from adcc_onnx.images.annotations.voc import read_voc_mask
from adcc_onnx.images.decoding.jpeg_draft import MaxDownscale
from adcc_onnx.images.pixel_arrays import Mask, RGBImage
from adcc_onnx.images.sources.image_source import DrawMask, Load, LoadDownscaled, Record, Source


class Annotations(Protocol):
    """Annotations of images, by file name without suffix."""

    def find(self, stem: str) -> DrawMask | None:
        """Return a function from (height, width) to the mask; None without annotations."""


def with_ground_truth(source: Source, spec: Path) -> Source:
    """Add ground-truth object masks to the images of a source.

    An annotation belongs to the image whose name without suffix is the same, with its folders
    ("cat/1") or, if no other image has that file name, without them ("1"). Objects of all classes
    count: where an image shows several objects, annotate only those of the explained class.

    Args:
        source: The images.
        spec: A folder of Pascal VOC boxes (`NAME.xml`), a folder of masks (`NAME.png`), or a COCO
            file (`.json`); see docs/results/localization.md.

    Returns:
        The same images; those with an annotation have `Record.truth`.

    Raises:
        SourceError: The path does not exist, is not one of these kinds, or annotates no image.
    """
    annotations, ambiguous = _open_annotations(spec), _repeated_stems(source.names)

    def find(name: str) -> DrawMask | None:
        found = (annotations.find(stem) for stem in _candidate_stems(name, ambiguous))
        return next((draw for draw in found if draw is not None), None)

    if not any(find(name) for name in source.names):
        raise SourceError(f"{spec} annotates no image of the source, such as {source.names[0]}")

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for record in source.at(positions):
            yield _with_mask(record, find(record.name), source.preprocessed)

    return replace(source, read=read)


def _open_annotations(spec: Path) -> Annotations:
    if not spec.exists():
        raise SourceError(f"no such file or folder of annotations: {spec}")
    if spec.suffix.lower() == ".json":
        return CocoAnnotations(spec)
    if not spec.is_dir():
        raise SourceError(
            f"{spec} is neither a folder of .xml or .png files nor a COCO file (.json)"
        )
    boxes, masks = (any(spec.rglob(f"*{suffix}")) for suffix in (".xml", ".png"))
    if boxes == masks:
        held = "both boxes (.xml) and" if boxes else "neither boxes (.xml) nor"
        raise SourceError(f"{spec} holds {held} masks (.png)")
    if boxes:
        return _AnnotationFolder(spec, ".xml", read_voc_mask)
    return _AnnotationFolder(spec, ".png", read_mask_image)


@dataclass(frozen=True)
class _AnnotationFolder:
    """One annotation file per image, read when the image's mask is needed."""

    folder: Path
    suffix: str
    read: Callable[[Path, tuple[int, int]], Mask]

    def find(self, stem: str) -> DrawMask | None:
        """Return a function from (height, width) to the mask; None without a file."""
        path = self.folder / f"{stem}{self.suffix}"
        return partial(self.read, path) if path.is_file() else None


def _repeated_stems(names: Sequence[str]) -> set[str]:
    """Find the file names without suffix that more than one image has."""
    seen: set[str] = set()
    repeated: set[str] = set()
    for name in names:
        stem = PurePosixPath(name).stem
        (repeated if stem in seen else seen).add(stem)
    return repeated


def _candidate_stems(name: str, ambiguous: set[str]) -> Iterator[str]:
    """Yield the possible names of an image's annotation; never a path out of the folder."""
    path = PurePosixPath(name)
    if not path.is_absolute() and ".." not in path.parts:
        yield str(path.with_name(path.stem))
    if path.stem not in ambiguous:
        yield path.stem


def _with_mask(record: Record, draw: DrawMask | None, preprocessed: bool) -> Record:
    if draw is None:
        return record
    image = _SizedImage(record.load, record.load_downscaled, preprocessed)
    return replace(
        record,
        load=image.load,
        truth=partial(_mask_of, draw, image),
        load_downscaled=None if record.load_downscaled is None else image.load_downscaled,
    )


class _SizedImage:
    """A record's image that remembers its size, so that its mask needs no second decoding."""

    def __init__(
        self, load: Load, load_downscaled: LoadDownscaled | None, preprocessed: bool
    ) -> None:
        self._load, self._load_downscaled = load, load_downscaled
        self._preprocessed = preprocessed
        self._size: tuple[int, int] | None = None

    def load(self) -> NDArray[Any]:
        """Load the full image and remember its size."""
        image = self._load()
        height, width = image.shape[1:] if self._preprocessed else image.shape[:2]
        self._size = (height, width)
        return image

    def load_downscaled(self, max_downscale: MaxDownscale) -> tuple[RGBImage, int]:
        """Load the image at a reduced size and remember its full size."""
        assert self._load_downscaled is not None
        image, factor = self._load_downscaled(max_downscale)
        self._size = (factor * image.shape[0], factor * image.shape[1])
        return image, factor

    def size(self) -> tuple[int, int]:
        """Return (height, width) of the full image, loading it if necessary."""
        if self._size is None:
            self.load()
        assert self._size is not None
        return self._size


def _mask_of(draw: DrawMask, image: _SizedImage) -> Mask:
    return draw(image.size())
