"""Labels from a separate file, such as ImageNet's ground truth.

A wrong label is worse than none, so ambiguous files are rejected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from adcc_onnx.errors import SourceError, first_line
from adcc_onnx.images.sources.image_source import Label, Source, relabel
from adcc_onnx.images.sources.list_dialects import (
    LABEL_COLUMNS,
    Table,
    column_key,
    is_image_name,
)
from adcc_onnx.images.sources.list_files import JSON_LINES, ImageList, read_list, read_table

_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})(?!\d)")
_SYNSET = re.compile(r"n\d{8}")
_ILSVRC_CLASSES = 1000


def with_labels(source: Source, path: Path) -> Source:
    """Label the images of a source from a file.

    The file has one of two forms:

    - A list of paths and labels; see `read_list`. Paths are matched with the names of the images
      or, if these are unique, with their file names alone, with or without the ending. The list may
      name folders above the source, as in `photos/dog.jpg` for the folder `photos`. Images that the
      list does not name have no label.
    - One label per line, for images whose names contain their line number, as
      `ILSVRC2012_val_00000001.JPEG` does (line 1). The labels are synsets (`n01751748`), class
      indices from 0, or ILSVRC2012 identifiers from 1, as in
      `ILSVRC2012_validation_ground_truth.txt`. Identifiers are not in the order of the classes;
      their synsets are read from the development kit's `meta.mat` in the same folder (this needs
      scipy). Numbers are identifiers if 1000 occurs and 0 does not, and class indices if 0 occurs
      and 1000 does not; otherwise the file is rejected as ambiguous.

    Args:
        source: The images.
        path: The file of labels.

    Returns:
        The same images with the labels of the file.

    Raises:
        SourceError: The file cannot be read, is ambiguous, or labels no image of the source.
    """
    if path.suffix.lower() in JSON_LINES:
        labels = _by_name(read_list(path), source, path)
    else:
        table = read_table(path)
        if not table.rows:
            raise SourceError(f"{path} holds no labels")
        labels = (
            _by_line(table.rows, source, path)
            if _has_only_labels(table)
            else _by_name(read_list(path, table), source, path)
        )
    if all(label is None for label in labels):
        raise SourceError(f"{path} labels no image of the source, such as {source.names[0]}")
    return relabel(source, labels)


def _has_only_labels(table: Table) -> bool:
    """Return whether a file has one column, and it is not one of paths."""
    if any(len(cells) > 1 for _, cells in table.rows):
        return False
    if table.header is not None:
        return column_key(table.header[1][0]) in LABEL_COLUMNS
    return not all(is_image_name(cells[0]) for _, cells in table.rows)


def _by_name(found: ImageList, source: Source, path: Path) -> list[Label | None]:
    by_path: dict[str, Label | None] = {}
    if found.unused:
        raise SourceError(
            f"{path}, line 1: no column of labels among {', '.join(found.unused)}; name it label"
        )
    for entry in found.entries:
        if entry.label is None:
            raise SourceError(f"{path}, line {entry.line}: expected path,label")
        if by_path.setdefault(entry.path, entry.label) != entry.label:
            raise SourceError(f"{path}, line {entry.line}: {entry.path} has another label above")
    files = Counter(PurePosixPath(name).name for name in by_path)
    by_file = {
        file: label
        for name, label in by_path.items()
        if files[file := PurePosixPath(name).name] == 1
    }
    columns = [source.names]
    # File names and names without an ending count only where they are unique.
    for short in (
        [PurePosixPath(name).name for name in source.names],
        [str(PurePosixPath(name).with_suffix("")) for name in source.names],
        [PurePosixPath(name).stem for name in source.names],
    ):
        if len(set(short)) == len(short):
            columns.append(short)
    names = {**by_file, **by_path} if len(columns) > 1 else by_path
    return [
        next((names[key] for key in keys if key in names), None)
        for keys in zip(*columns, strict=True)
    ]


def _by_line(
    rows: Sequence[tuple[int, list[str]]], source: Source, path: Path
) -> list[Label | None]:
    lines = _parse_lines([row[0] for _, row in rows], path)
    labels: list[Label | None] = []
    for name in source.names:
        match = _VALIDATION.search(name)
        if match is None:
            raise SourceError(
                f"{path} has one label per line, but the name {name} contains no line number; "
                "write a CSV path,label"
            )
        line = int(match[1])
        if not 1 <= line <= len(lines):
            raise SourceError(f"{path} has only {len(lines)} lines, so none for {name}")
        labels.append(lines[line - 1])
    return labels


def _parse_lines(lines: Sequence[str], path: Path) -> list[Label]:
    """Convert lines to labels: synsets, class indices or ILSVRC2012 identifiers."""
    if all(_SYNSET.fullmatch(line) for line in lines):
        return list(lines)
    if not all(line.isdecimal() and int(line) <= _ILSVRC_CLASSES for line in lines):
        raise SourceError(f"{path} must hold one synset or class index per line")
    numbers = [int(line) for line in lines]
    from_zero, from_one = 0 in numbers, _ILSVRC_CLASSES in numbers
    if from_zero == from_one:
        raise SourceError(
            f"{path} is ambiguous: its numbers may be class indices from 0 or ILSVRC2012 "
            "identifiers from 1; write a CSV path,label, or one synset per line"
        )
    if from_zero:
        return list(numbers)
    synsets = _synsets(path.parent / "meta.mat", path)
    return [synsets[number] for number in numbers]


def _synsets(meta: Path, path: Path) -> Mapping[int, str]:
    """Read the synset of each ILSVRC2012 identifier."""
    if not meta.is_file():
        raise SourceError(
            f"{path} holds ILSVRC2012 identifiers, which are not class indices: put the file "
            "meta.mat of the same development kit into its folder"
        )
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise SourceError(f"scipy is needed to read {meta}: pip install scipy") from error
    try:
        rows = loadmat(meta, squeeze_me=True)["synsets"]
        found = zip(rows["ILSVRC2012_ID"], rows["WNID"], strict=True)
        synsets = {int(number): str(synset) for number, synset in found}
    except Exception as error:  # scipy raises all kinds of errors on damaged files
        raise SourceError(f"{meta} cannot be read: {first_line(error)}") from error
    if any(number not in synsets for number in range(1, _ILSVRC_CLASSES + 1)):
        raise SourceError(f"{meta} does not name the {_ILSVRC_CLASSES} synsets of ILSVRC2012")
    return synsets
