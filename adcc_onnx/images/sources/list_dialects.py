"""Splitting of list files into cells at commas, tabs, semicolons or spaces."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from adcc_onnx.images.decoding.decode import SUFFIXES

# Names of columns without spaces, hyphens and underscores, in the order of preference.
PATH_COLUMNS = (
    "path", "filepath", "imagepath", "imgpath", "filename", "file", "imagefile", "image", "img",
    "imageid", "imgid", "name",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "classid", "classindex", "classidx", "classname", "target",
    "category", "categoryid", "synset", "wnid", "predictionstring",
)  # fmt: skip
# Also of formats that cannot be decoded: a path is recognized by its ending.
_ENDINGS = (*SUFFIXES, ".heic", ".heif", ".avif", ".npy")
_SPACED = re.compile(
    rf"(.*(?:{'|'.join(re.escape(ending) for ending in _ENDINGS)}))\s+(\S.*)", re.IGNORECASE
)
_DELIMITERS = ("\t", ",", ";")

Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """The cells of a list file.

    Attributes:
        header: Line number and cells of the header; None without one.
        rows: Line number and cells of each row that is not empty.
    """

    header: Row | None
    rows: list[Row]


def column_key(name: str) -> str:
    """Return a column's name without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name.lower())


def is_image_name(cell: str) -> bool:
    """Return whether a cell ends like the name of an image file."""
    return cell.lower().endswith(_ENDINGS)


def split_table(text: str) -> Table:
    r"""Split a list into cells by the delimiter that fits all of its lines.

    Args:
        text: The content of the file.

    Returns:
        The header and the rows; cells have no spaces at their ends.

    Raises:
        ValueError: A line is not valid CSV; the message begins with the line's number.

    Example:
        >>> split_table("path;label\na.png;3").rows
        [(2, ['a.png', '3'])]
        >>> split_table("my cat.png 3").rows
        [(1, ['my cat.png', '3'])]
    """
    by_comma: list[Row] = []
    for delimiter in _DELIMITERS:
        rows = _split_at(text, delimiter)
        if _fits(rows):
            return _table(rows)
        by_comma = rows if delimiter == "," else by_comma
    lines = [(n, [line.strip()]) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    spaced = _split_at_spaces(lines)
    if _fits(spaced):
        return _table(spaced)
    one_column = _table(lines)
    if all(is_image_name(cells[0]) for _, cells in one_column.rows):
        return one_column
    return _table(by_comma)


def _split_at(text: str, delimiter: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    return [row for row in rows if any(row[1])]


def _split_at_spaces(lines: Sequence[Row]) -> list[Row]:
    """Split lines after the image's file name, which may contain spaces, and a header at spaces."""
    rows = []
    for place, (number, (line,)) in enumerate(lines):
        match = _SPACED.fullmatch(line)
        header = line.split() if place == 0 else []
        cells = list(match.groups()) if match else header if _is_header(header) else [line]
        rows.append((number, cells))
    return rows


def _fits(rows: Sequence[Row]) -> bool:
    """Return whether rows are a table: two columns or more, with a header or a column of images."""
    if not rows or len(rows[0][1]) < 2:
        return False
    if _is_header(rows[0][1]):
        return True
    width = len(rows[0][1])
    if any(len(cells) != width for _, cells in rows):
        return False
    return any(_holds_images(rows, column) for column in range(width))


def _holds_images(rows: Sequence[Row], column: int) -> bool:
    """Return whether a column holds names of images, not counting the first row of several."""
    return all(is_image_name(cells[column]) for _, cells in rows[1:] or rows)


def _table(rows: list[Row]) -> Table:
    if rows and _is_header(rows[0][1]):
        return Table(rows[0], rows[1:])
    return Table(None, rows)


def _is_header(cells: Sequence[str]) -> bool:
    known = {*PATH_COLUMNS, *LABEL_COLUMNS}
    named = any(column_key(cell) in known for cell in cells)
    return named and not any(is_image_name(cell) for cell in cells)
