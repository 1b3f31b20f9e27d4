"""Labels that stand in a file of their own, ImageNet's ground truth among them.

A wrong label is worse than none: what cannot be told apart is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from adcc_onnx.errors import SourceError, first_line
from adcc_onnx.images.sources.folders import read_rows
from adcc_onnx.images.sources.image_source import Label, Source, parse_label, relabel

_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})(?!\d)")
_SYNSET = re.compile(r"n\d{8}")
_ILSVRC_CLASSES = 1000


def with_labels(source: Source, path: Path) -> Source:
    """The images of a source under the labels that a file gives.

    The file is one of:

    - a CSV `path,label`, by the images' names or, where these are unambiguous, by the names of
      their files alone; images it does not name have no label;
    - lines of one label each, for images whose names say which line is theirs
      (`ILSVRC2012_val_00000001.JPEG`: the first): synsets (`n01751748`), class numbers from 0, or
      ILSVRC2012 identifiers from 1, as in `ILSVRC2012_validation_ground_truth.txt`. Identifiers
      are not in the order of classes: the development kit's `meta.mat`, beside the file, tells
      their synsets (it takes scipy to read). Lines of numbers count as identifiers if one is 1000
      and none 0, as class numbers if one is 0 and none 1000; else they are refused.

    Raises:
        SourceError: the file cannot be read or understood, or labels no image of the source.
    """
    rows = read_rows(path)
    if not rows:
        raise SourceError(f"{path} holds no labels")
    wide = max(len(row) for _, row in rows)
    labels = _by_name(rows, source, path) if wide > 1 else _by_line(rows, source, path)
    if all(label is None for label in labels):
        raise SourceError(f"{path} labels no image of the source, such as {source.names[0]}")
    return relabel(source, labels)


def _by_name(
    rows: Sequence[tuple[int, list[str]]], source: Source, path: Path
) -> list[Label | None]:
    given: dict[str, Label | None] = {}
    for number, row in rows:
        if len(row) < 2 or not row[0]:
            raise SourceError(f"{path}, line {number}: not path,label")
        if given.setdefault(row[0], parse_label(row[1])) != parse_label(row[1]):
            raise SourceError(f"{path}, line {number}: a second label for {row[0]}")
    bases = [PurePosixPath(name).name for name in source.names]
    alone = len(set(bases)) == len(bases)
    return [
        given.get(name, given.get(base) if alone else None)
        for name, base in zip(source.names, bases, strict=True)
    ]


def _by_line(
    rows: Sequence[tuple[int, list[str]]], source: Source, path: Path
) -> list[Label | None]:
    lines = _meanings([row[0] for _, row in rows], path)
    labels: list[Label | None] = []
    for name in source.names:
        match = _VALIDATION.search(name)
        if match is None:
            raise SourceError(
                f"{path} gives labels line by line, but which is that of {name}? "
                "Write a CSV path,label"
            )
        line = int(match[1])
        if not 1 <= line <= len(lines):
            raise SourceError(f"{path} has {len(lines)} lines, none for {name}")
        labels.append(lines[line - 1])
    return labels


def _meanings(lines: Sequence[str], path: Path) -> list[Label]:
    """The labels that the lines stand for."""
    if all(_SYNSET.fullmatch(line) for line in lines):
        return list(lines)
    if not all(line.isdecimal() and int(line) <= _ILSVRC_CLASSES for line in lines):
        raise SourceError(f"{path} holds neither synsets nor class numbers, one a line")
    numbers = [int(line) for line in lines]
    from_zero, from_one = 0 in numbers, _ILSVRC_CLASSES in numbers
    if from_zero == from_one:
        raise SourceError(
            f"{path}: are its numbers classes from 0 or ILSVRC2012 identifiers from 1? "
            "Write a CSV path,label, or one synset a line"
        )
    if from_zero:
        return list(numbers)
    synsets = _synsets(path.parent / "meta.mat", path)
    return [synsets[number] for number in numbers]


def _synsets(meta: Path, path: Path) -> Mapping[int, str]:
    """The synset of every ILSVRC2012 identifier."""
    if not meta.is_file():
        raise SourceError(
            f"{path} holds ILSVRC2012 identifiers, which are not class numbers: put meta.mat of "
            "the same development kit beside it"
        )
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise SourceError(f"{meta} needs scipy to be read: pip install scipy") from error
    try:
        rows = loadmat(meta, squeeze_me=True)["synsets"]
        found = zip(rows["ILSVRC2012_ID"], rows["WNID"], strict=True)
        synsets = {int(number): str(synset) for number, synset in found}
    except Exception as error:  # scipy raises whatever a broken file leads it to
        raise SourceError(f"{meta} cannot be read: {first_line(error)}") from error
    if any(number not in synsets for number in range(1, _ILSVRC_CLASSES + 1)):
        raise SourceError(f"{meta} does not name the {_ILSVRC_CLASSES} synsets of ILSVRC2012")
    return synsets
