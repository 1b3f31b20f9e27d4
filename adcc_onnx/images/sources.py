"""Where images come from: a folder, a list, one file, or tensors made elsewhere."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import SourceError
from adcc_onnx.images.decoding import read_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
_LISTS = (".csv", ".txt", ".lst")


@dataclass(frozen=True)
class Record:
    """One image of a source.

    Attributes:
        name: unique in the source and the same on every machine.
        label: a class number or name, if one is given.
        load: the picture, uint8 [H, W, 3], or of a ready source the tensor, float32 [C, H, W].
    """

    name: str
    label: int | str | None
    load: Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class Source:
    """A sequence of images.

    Attributes:
        records: in the order they are evaluated.
        ready: the records load preprocessed tensors.
    """

    records: Sequence[Record]
    ready: bool = False

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)


def open_source(spec: str | Path, limit: int | None = None) -> Source:
    """A folder (flat or one folder a class), a picture, a list or CSV `path[,label]`, or an `.npz`.

    Args:
        spec: where.
        limit: at most so many images, the first ones.

    Raises:
        SourceError: it is missing, empty or malformed.
    """
    path = Path(spec)
    if not path.exists():
        raise SourceError(f"no such file or folder: {path}")
    if path.is_dir():
        return Source(_in_folder(path)[:limit])
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _in_npz(path, limit)
    if suffix in _LISTS:
        return Source(_in_list(path)[:limit])
    if suffix in SUFFIXES:
        return Source([Record(path.name, None, partial(read_image, path))])
    kinds = ", ".join((*_LISTS, ".npz", *SUFFIXES))
    raise SourceError(f"{path} is neither a folder nor one of {kinds}")


def open_paths(paths: Sequence[Path], limit: int | None = None) -> Source:
    """Pictures by their paths."""
    if not paths:
        raise SourceError("no image was given")
    return Source([Record(str(p), None, partial(read_image, p)) for p in paths][:limit])


def open_arrays(
    tensors: NDArray[Any], limit: int | None = None, labels: NDArray[Any] | None = None
) -> Source:
    """Preprocessed tensors [N, C, H, W], with perhaps a label each.

    Raises:
        SourceError: another rank or type, or another number of labels.
    """
    if tensors.ndim != 4 or tensors.dtype.kind != "f" or not len(tensors):
        shape = " x ".join(str(size) for size in tensors.shape)
        raise SourceError(
            f"ready tensors must be floating point [N, C, H, W], not {tensors.dtype} [{shape}]"
        )
    if labels is not None and len(labels) != len(tensors):
        raise SourceError(f"there are {len(tensors)} tensors but {len(labels)} labels")
    records = [
        Record(str(i), None if labels is None else int(labels[i]), partial(_tensor, tensors, i))
        for i in range(len(tensors))
    ]
    return Source(records[:limit], ready=True)


def _tensor(tensors: NDArray[Any], index: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensors[index], dtype=np.float32)


def _in_folder(folder: Path) -> list[Record]:
    """Pictures of the folder; if it has none, those of its folders, each labelled by its name."""
    flat = [Record(p.name, None, partial(read_image, p)) for p in _pictures(folder)]
    if flat:
        return flat
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    records = [
        Record(f"{c.name}/{p.name}", c.name, partial(read_image, p))
        for c in classes
        for p in _pictures(c)
    ]
    if not records:
        raise SourceError(f"no image in {folder} (looked for {', '.join(SUFFIXES)})")
    return records


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )


def _in_list(path: Path) -> list[Record]:
    """Lines `path[,label]`, with or without a header, relative to the list's folder."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [(number, row) for number, row in enumerate(csv.reader(stream), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"the list {path} cannot be read: {error}") from error
    if rows and rows[0][1][0].strip().lower() in ("path", "file", "filename", "image"):
        rows = rows[1:]
    if not rows:
        raise SourceError(f"the list {path} names no image")
    return [_listed(path, number, row) for number, row in rows]


def _listed(path: Path, number: int, row: list[str]) -> Record:
    name, label = row[0].strip(), row[1].strip() if len(row) > 1 else ""
    if not name:
        raise SourceError(f"{path}, line {number}: no path")
    known: int | str | None = label or None
    if label.lstrip("-").isdigit():
        known = int(label)
    return Record(name, known, partial(read_image, path.parent / name))


def _in_npz(path: Path, limit: int | None) -> Source:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "x" not in archive:
                raise SourceError(f"{path} holds no array 'x' [N, C, H, W]")
            labels = archive["label"].reshape(-1) if "label" in archive else None
            return open_arrays(archive["x"], limit, labels)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} cannot be read as .npz: {error}") from error
