"""Pictures in a folder, by themselves or one folder a class, and in lists."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from adcc_onnx.errors import SourceError
from adcc_onnx.images.decoding.decode import SUFFIXES
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.sources.encoded_images import random_access_source
from adcc_onnx.images.sources.image_source import Label, Source, parse_label, unique_names

_HEADERS = ("path", "file", "filename", "image", "name")


def folder_source(folder: Path) -> Source:
    """Pictures of the folder; if it has none, those of its folders, each labeled by its name.

    Raises:
        SourceError: there is none.
    """
    try:
        flat = _pictures(folder)
        if flat:
            return file_source(folder, flat, [None] * len(flat))
        classes = sorted(
            p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")
        )
        found = [(f"{c}/{name}", c) for c in classes for name in _pictures(folder / c)]
    except OSError as error:
        raise SourceError(f"the folder {folder} cannot be read: {error.strerror}") from error
    if not found:
        raise SourceError(f"no image in {folder} (looked for {', '.join(SUFFIXES)})")
    return file_source(folder, [name for name, _ in found], [label for _, label in found])


def list_source(path: Path) -> Source:
    """Lines `path[,label]`, with or without a header, relative to the list's folder.

    Raises:
        SourceError: it cannot be read, or names no image.
    """
    rows = read_rows(path)
    for number, row in rows:
        if not row[0]:
            raise SourceError(f"{path}, line {number}: no path")
    if not rows:
        raise SourceError(f"the list {path} names no image")
    labels = [parse_label(row[1]) if len(row) > 1 else None for _, row in rows]
    return file_source(path.parent, [row[0] for _, row in rows], labels)


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV below its header, if it has one, each with the number of its line.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"the list {path} cannot be read: {error}") from error
    return rows[1:] if rows and rows[0][1][0].lower() in _HEADERS else rows


def file_source(folder: Path, paths: Sequence[str], labels: Sequence[Label | None]) -> Source:
    """Pictures by their paths, relative to a folder."""
    names = unique_names(paths)
    return random_access_source(
        names, labels, lambda i: partial(read_bytes, folder / paths[i], names[i])
    )


def _pictures(folder: Path) -> list[str]:
    return sorted(
        p.name
        for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
