"""Image files: in a flat folder, in one folder per class, or listed in a text file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

from adcc_onnx.errors import AdccWarning, SourceError
from adcc_onnx.images.decoding.band_files import NPY_SUFFIX
from adcc_onnx.images.decoding.decode import HEIF_SUFFIXES, SUFFIXES
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.sources.encoded_images import random_access_source
from adcc_onnx.images.sources.image_source import Label, Source, unique_names
from adcc_onnx.images.sources.list_dialects import is_image_name
from adcc_onnx.images.sources.list_files import Entry, ImageList, read_list

# Labels of the images in the same folder, as Hugging Face's ImageFolder reads them.
_METADATA = ("metadata.jsonl", "metadata.csv")
_NAMED_FILES = 5  # of those that are skipped


def folder_source(folder: Path) -> Source:
    """Open the images in a folder, or in its subfolders if it holds none.

    Args:
        folder: A folder of images, with or without labels in Hugging Face's `metadata.jsonl` or
            `metadata.csv`, or a folder of one subfolder per class, whose name becomes the label.

    Returns:
        The images, sorted by name.

    Raises:
        SourceError: There is no image, or the folder cannot be read.
    """
    try:
        contents = _contents(folder)
        flat = contents.images
        metadata = next((folder / name for name in _METADATA if (folder / name).is_file()), None)
        if metadata is not None:
            _warn_of_skipped(folder, [contents])
            return _source_of_metadata(folder, flat, read_list(metadata))
        if flat:
            _warn_of_skipped(folder, [contents])
            return file_source(folder, flat, [None] * len(flat))
        classes = {name: _contents(folder, name) for name in contents.folders}
        found = [(name, c) for c, within in classes.items() for name in within.images]
        _warn_of_skipped(folder, [replace(contents, folders=[]), *classes.values()], bool(found))
    except OSError as error:
        raise SourceError(f"the folder {folder} cannot be read: {error.strerror}") from error
    if not found:
        raise _no_image(folder)
    return file_source(folder, [name for name, _ in found], [label for _, label in found])


def _no_image(folder: Path) -> SourceError:
    """Return the error of a folder without images; it names a deeper folder that holds some."""
    endings = (*SUFFIXES, *HEIF_SUFFIXES)
    text = f"no image in {folder} or its subfolders (looked for {', '.join(endings)})"
    for place, folders, names in os.walk(folder):
        folders.sort()
        if _names_of(names, endings):
            return SourceError(f"{text}; deeper folders are not read: give {place} or its parent")
    return SourceError(text)


def _source_of_metadata(folder: Path, flat: Sequence[str], found: ImageList) -> Source:
    """Open the images beside a metadata file, or those that it lists if there are none beside."""
    labels = {entry.path: entry.label for entry in found.entries}
    names = flat or list(labels)
    if not names:
        raise _no_image(folder)
    return file_source(folder, names, [labels.get(name) for name in names])


def list_source(path: Path) -> Source:
    """Open the images that a text file lists, one `path[,label]` per line; see `read_list`.

    Args:
        path: The list; paths in it are relative to its folder.

    Returns:
        The images in the order of the list.

    Raises:
        SourceError: The list cannot be read, has a line without a path, or names no image.
    """
    found = read_list(path)
    if not found.entries:
        raise SourceError(f"the list {path} names no image")
    if found.unused:
        warnings.warn(
            f"{path} has no labels: none of its columns {', '.join(found.unused)} is named label",
            AdccWarning,
            stacklevel=2,
        )
    paths = _with_endings(path, found.entries)
    return file_source(path.parent, paths, [entry.label for entry in found.entries])


def _with_endings(path: Path, entries: Sequence[Entry]) -> list[str]:
    """Return the paths of a list; names without an ending, as Kaggle writes, get their file's."""
    by_folder: dict[Path, dict[str, list[str]]] = {}
    found = []
    for entry in entries:
        given = PurePath(entry.path)
        folder = path.parent / given.parent
        if not is_image_name(entry.path) and folder not in by_folder:
            by_folder[folder] = _names_by_stem(folder)
        names = by_folder.get(folder, {}).get(given.name, []) if given.name else []
        if len(names) > 1:
            raise SourceError(
                f"{path}, line {entry.line}: {entry.path} may be {' or '.join(sorted(names)[:3])}; "
                "write the name with its ending"
            )
        is_bare = names and not is_image_name(entry.path)
        found.append(str(given.with_name(names[0])) if is_bare else entry.path)
    return found


def _names_by_stem(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    with suppress(OSError):  # A missing folder fails each of its images with a reason.
        for name in _contents(folder).images:
            names.setdefault(PurePath(name).stem, []).append(name)
    return names


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


@dataclass(frozen=True)
class _Contents:
    """The names in a folder, sorted; hidden ones are left out.

    Attributes:
        images: Image files; `.npy` files only if there are no others.
        files: Other files.
        broken: Links without a target.
        folders: Subfolders.
    """

    images: list[str]
    files: list[str]
    broken: list[str]
    folders: list[str]


def _contents(folder: Path, within: str = "") -> _Contents:
    """List a folder, or one of its subfolders with names relative to the folder."""
    paths = sorted(p for p in (folder / within).iterdir() if not p.name.startswith("."))
    prefix = f"{within}/" if within else ""
    files = [prefix + p.name for p in paths if p.is_file()]
    images = _names_of(files, (*SUFFIXES, *HEIF_SUFFIXES)) or _names_of(files, (NPY_SUFFIX,))
    known = {*images, *_METADATA}
    return _Contents(
        images,
        [name for name in files if name not in known],
        [prefix + p.name for p in paths if not p.exists()],
        [prefix + p.name for p in paths if p.is_dir()],
    )


def _names_of(files: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    return [name for name in files if PurePath(name).suffix.lower() in suffixes]


def _warn_of_skipped(folder: Path, found: Sequence[_Contents], has_images: bool = True) -> None:
    """Count and name what a folder holds other than the images that are read."""
    if not has_images:
        return
    files = [name for one in found for name in one.files]
    broken = [name for one in found for name in one.broken]
    deeper = [name for one in found for name in one.folders if _holds_images(folder / name)]
    _warn(folder, "file", files, "no known ending of an image")
    _warn(folder, "file", broken, "a link without a target")
    _warn(folder, "subfolder", deeper, "images are read beside it or above it")


def _holds_images(folder: Path) -> bool:
    """Return whether an image file lies anywhere below a folder; links are not followed."""
    return any(
        PurePath(name).suffix.lower() in (*SUFFIXES, *HEIF_SUFFIXES) and not name.startswith(".")
        for _, _, names in os.walk(folder)
        for name in names
    )


def _warn(folder: Path, kind: str, names: Sequence[str], reason: str) -> None:
    if names:
        more = ", ..." if len(names) > _NAMED_FILES else ""
        skipped = f"1 {kind}" if len(names) == 1 else f"{len(names):,} {kind}s"
        warnings.warn(
            f"{folder}: skipped {skipped} ({reason}): {', '.join(names[:_NAMED_FILES])}{more}",
            AdccWarning,
            stacklevel=4,
        )
