"""Lists of images and labels in text files: CSV in several dialects, and JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcc_onnx.errors import SourceError, first_line
from adcc_onnx.images.sources.image_source import Label
from adcc_onnx.images.sources.list_dialects import (
    LABEL_COLUMNS,
    PATH_COLUMNS,
    Table,
    column_key,
    is_image_name,
    split_table,
)
from adcc_onnx.images.text_files import read_text

JSON_LINES = (".jsonl", ".ndjson")
_REMEDY = "name the columns path and label in the first line"
_SYNSET = re.compile(r"n\d{8}")
_INTEGER = re.compile(r"-?\d{1,18}")
_DECIMAL = re.compile(r"-?\d{1,18}\.\d*(?:e[+-]?\d{1,2})?", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One image of a list.

    Attributes:
        line: Number of its line in the file.
        path: Path of the image as written.
        label: Label of the image; None if it has none.
    """

    line: int
    path: str
    label: Label | None


@dataclass(frozen=True)
class ImageList:
    """The images of a list file.

    Attributes:
        entries: The images in the order of the file.
        unused: Names of the columns that are neither paths nor labels, if no column has labels.
    """

    entries: list[Entry]
    unused: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read the cells of a list file.

    Args:
        path: The file, in UTF-8.

    Returns:
        The header and the rows.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        return split_table(read_text(path, f"the list {path}"))
    except ValueError as error:
        text = str(error)
        text = text if text.startswith("the list") else f"the list {path} cannot be read: {text}"
        raise SourceError(text) from error


def read_list(path: Path, table: Table | None = None) -> ImageList:
    """Read the paths and labels of a list file.

    The file is a CSV with commas, tabs, semicolons or spaces, or JSON lines (`.jsonl`). Columns are
    found by the names in the header, in any order, and without a header by the endings of image
    names.

    Args:
        path: The file, in UTF-8.
        table: Its cells, if they were read already.

    Returns:
        The images.

    Raises:
        SourceError: The file cannot be read, or a line has no path or an unreadable label.
    """
    if path.suffix.lower() in JSON_LINES:
        return _read_json_lines(path)
    table = table or read_table(path)
    column, label_column, unused = _columns(table, path)
    is_boxes = _has_boxes(table, label_column)
    entries = []
    for line, cells in table.rows:
        if column >= len(cells) or not cells[column]:
            raise SourceError(f"{path}, line {line}: the path is missing")
        text = "" if label_column is None else "".join(cells[label_column : label_column + 1])
        text = _only_synset(text, path, line) if is_boxes else text
        entries.append(Entry(line, cells[column], _label(text, path, line)))
    return ImageList(entries, unused)


def _has_boxes(table: Table, column: int | None) -> bool:
    """Return whether the labels are Kaggle's boxes, as in `LOC_val_solution.csv`."""
    if table.header is None or column is None:
        return False
    return column_key(table.header[1][column]) == "predictionstring"


def _columns(table: Table, path: Path) -> tuple[int, int | None, tuple[str, ...]]:
    """Find the columns of paths and labels, and the names of others if there are no labels."""
    if table.header is None:
        return (*_columns_without_header(table, path), ())
    line, cells = table.header
    keys = [column_key(cell) for cell in cells]
    found = [_first_of(names, keys) for names in (PATH_COLUMNS, LABEL_COLUMNS)]
    if found[0] is None:
        named = ", ".join(filter(None, cells))
        raise SourceError(f"{path}, line {line}: no column of paths among {named}; {_REMEDY}")
    others = (cell for place, cell in enumerate(cells) if place != found[0])
    unused = tuple(cell for cell in others if cell and not cell.startswith("Unnamed:"))
    return found[0], found[1], () if found[1] is not None else unused


def _columns_without_header(table: Table, path: Path) -> tuple[int, int | None]:
    rows = table.rows
    if not rows:
        return 0, None
    width = max(len(cells) for _, cells in rows)
    columns = range(min(len(cells) for _, cells in rows))
    first_line_number, first = rows[0]
    for column in columns:
        others = rows[1:]
        is_path = bool(others) and all(is_image_name(cells[column]) for _, cells in others)
        if is_path and not is_image_name(first[column]):
            named = ", ".join(first)
            raise SourceError(
                f"{path}, line {first_line_number}: unknown columns {named}; {_REMEDY}"
            )
    column = next((c for c in columns if all(is_image_name(row[c]) for _, row in rows)), 0)
    if column and width > 2:
        raise SourceError(f"{path}, line {first_line_number}: there is no header; {_REMEDY}")
    return column, (1 - column if width > 1 else None)


def _first_of(names: Sequence[str], keys: Sequence[str]) -> int | None:
    return next((keys.index(name) for name in names if name in keys), None)


def _read_json_lines(path: Path) -> ImageList:
    """Read JSON lines as Hugging Face's `metadata.jsonl`: one object per line."""
    try:
        lines = read_text(path, f"the list {path}").splitlines()
    except ValueError as error:
        raise SourceError(str(error)) from error
    entries, unused = [], dict[str, None]()
    for line, text in enumerate(lines, 1):
        if text.strip():
            record = _json_record(text, path, line)
            keys = [column_key(name) for name in record]
            values = list(record.values())
            column, label_column = (_first_of(n, keys) for n in (PATH_COLUMNS, LABEL_COLUMNS))
            if column is None or not isinstance(values[column], str) or not values[column]:
                raise SourceError(
                    f'{path}, line {line}: the path is missing; write "file_name": "cat.jpg"'
                )
            label = None if label_column is None else values[label_column]
            if label_column is None:
                unused.update(dict.fromkeys(name for name in record if name != "file_name"))
            entries.append(Entry(line, values[column], _label(label, path, line)))
    labeled = any(entry.label is not None for entry in entries)
    return ImageList(entries, () if labeled else tuple(unused))


def _json_record(text: str, path: Path, line: int) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}, line {line}: not JSON ({first_line(error)})") from error
    if not isinstance(record, dict):
        raise SourceError(f"{path}, line {line}: not an object such as {{...}}")
    return record


def _label(value: Any, path: Path, line: int) -> Label | None:
    """Convert a label: whole numbers are class indices, also when written as 3.0."""
    if value is None or (isinstance(value, list) and len(value) == 1):
        return None if value is None else _label(value[0], path, line)
    text = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SourceError(f"{path}, line {line}: a label must be a class index or a class name")
    if _INTEGER.fullmatch(text):
        return int(text)
    if not isinstance(value, str) or _DECIMAL.fullmatch(text):
        number = float(text)
        if not number.is_integer():
            raise SourceError(f"{path}, line {line}: the label {text[:40]} is not a class index")
        return int(number)
    return text or None


def _only_synset(text: str, path: Path, line: int) -> str:
    """Return the synset of Kaggle's boxes "n01440764 10 20 100 200 ..."."""
    synsets = {word for word in text.split() if _SYNSET.fullmatch(word)}
    if len(synsets) != 1:
        raise SourceError(f"{path}, line {line}: expected boxes of one synset, such as n01440764")
    return synsets.pop()
