"""Image files: in a flat folder, in one folder per class, or listed in a text file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from adcc_onnx.errors import SourceError
from adcc_onnx.images.decoding.band_files import NPY_SUFFIX
from adcc_onnx.images.decoding.decode import SUFFIXES
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.sources.encoded_images import random_access_source
from adcc_onnx.images.sources.image_source import Label, Source, parse_label, unique_names

_HEADERS = ("path", "file", "filename", "image", "name")


def folder_source(folder: Path) -> Source:
    """Open the images in a folder, or in its subfolders if it holds none.

    Args:
        folder: A folder of images, or of one subfolder per class, whose name becomes the label.

    Returns:
        The images, sorted by name.

    Raises:
        SourceError: There is no image, or the folder cannot be read.
    """
    try:
        flat = _image_names(folder)
        if flat:
            return file_source(folder, flat, [None] * len(flat))
        classes = sorted(
            p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")
        )
        found = [(f"{c}/{name}", c) for c in classes for name in _image_names(folder / c)]
    except OSError as error:
        raise SourceError(f"the folder {folder} cannot be read: {error.strerror}") from error
    if not found:
        raise SourceError(f"no image in {folder} (looked for {', '.join(SUFFIXES)})")
    return file_source(folder, [name for name, _ in found], [label for _, label in found])


def list_source(path: Path) -> Source:
    """Open the images that a text file lists, one `path[,label]` per line.

    Args:
        path: The list, with or without a header; paths in it are relative to its folder.

    Returns:
        The images in the order of the list.

    Raises:
        SourceError: The list cannot be read, has a line without a path, or names no image.
    """
    rows = read_rows(path)
    for number, row in rows:
        if not row[0]:
            raise SourceError(f"{path}, line {number}: the path is missing")
    if not rows:
        raise SourceError(f"the list {path} names no image")
    labels = [parse_label(row[1]) if len(row) > 1 else None for _, row in rows]
    return file_source(path.parent, [row[0] for _, row in rows], labels)


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Read the rows of a CSV file, without its header if it has one.

    Args:
        path: The file, in UTF-8.

    Returns:
        The line number and the cells of each row that is not empty.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"the list {path} cannot be read: {error}") from error
    return rows[1:] if rows and rows[0][1][0].lower() in _HEADERS else rows


def file_source(folder: Path, paths: Sequence[str], labels: Sequence[Label | None]) -> Source:
    """Open image files by their paths.

    Args:
        folder: Folder that the paths are relative to.
        paths: Paths of the images.
        labels: Labels of the images; None where unknown.

    Returns:
        The images in the given order, named by their paths.
    """
    names = unique_names(paths)
    return random_access_source(
        names, labels, lambda i: partial(read_bytes, folder / paths[i], names[i])
    )


def _image_names(folder: Path) -> list[str]:
    """List the image files of a folder; its `.npy` files only if there are no others."""
    return _names_of(folder, SUFFIXES) or _names_of(folder, (NPY_SUFFIX,))


def _names_of(folder: Path, suffixes: Sequence[str]) -> list[str]:
    return sorted(
        p.name
        for p in folder.iterdir()
        if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file()
    )
