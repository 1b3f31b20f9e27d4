"""Images in Parquet files with the layout of Hugging Face datasets; needs `[parquet]`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from adcc_onnx.errors import ImageError, SourceError, first_line
from adcc_onnx.images.sources.encoded_images import encoded_record
from adcc_onnx.images.sources.image_source import Label, Record, Source, parse_label, unique_names

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_IMAGE, _LABEL = "image", "label"
# Rows per read: of images, and of names and labels.
_IMAGE_ROWS, _NAME_ROWS = 4, 4096
_BUFFER_BYTES = 2**20


def parquet_source(path: Path, prefix: str = "") -> Source:
    """Open a Parquet file with a column `image` of encoded bytes or of structs {bytes, path}.

    A column `label`, of integers or text, gives the labels. Images are named by their `path` if
    every row has a relative path without "..", otherwise by their row number. Row groups without
    a requested row are skipped.

    Args:
        path: The Parquet file.
        prefix: Prefix of names that are row numbers.

    Returns:
        The images in the order of the rows.

    Raises:
        SourceError: The package pyarrow is not installed, or the file is damaged or has no such
            column.
    """
    layout, rows = _index(path)
    labels = [label for _, label in rows]
    numbered = any(name is None for name, _ in rows)
    names = unique_names(f"{prefix}{i}" if numbered else str(rows[i][0]) for i in range(len(rows)))

    def read(positions: Iterable[int]) -> Iterator[Record]:
        chosen = list(positions)
        for i, data in zip(chosen, _cells(path, layout, chosen), strict=True):
            yield encoded_record(names[i], labels[i], partial(_bytes_or_raise, data, names[i]))

    return Source(names, labels, read)


@dataclass(frozen=True)
class _Layout:
    """Location of the images in a file.

    Attributes:
        column: Name of the column that holds the encoded bytes.
        starts: First row of each row group.
    """

    column: str
    starts: Sequence[int]


def _open_file(path: Path) -> ParquetFile:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise SourceError(
            f'pyarrow is needed to read {path}: pip install "adcc-onnx[parquet]"'
        ) from error
    return ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _index(path: Path) -> tuple[_Layout, list[tuple[str | None, Label | None]]]:
    """Read the location of the images, and the name and label of each row."""
    try:
        with _open_file(path) as file:
            leaves = {file.schema.column(i).path for i in range(len(file.schema))}
            column = f"{_IMAGE}.bytes" if f"{_IMAGE}.bytes" in leaves else _IMAGE
            if column not in leaves:
                raise SourceError(f"{path} has no column '{_IMAGE}' of bytes or {{bytes, path}}")
            wanted = [leaf for leaf in (f"{_IMAGE}.path", _LABEL) if leaf in leaves]
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            rows = [_name_and_label(row) for row in _rows(file, wanted)] if wanted else []
    except SourceError:
        raise
    except Exception as error:  # pyarrow's errors have no common base
        raise SourceError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
    if not sum(sizes):
        raise SourceError(f"{path} has no rows")
    starts = list(accumulate(sizes[:-1], initial=0))
    return _Layout(column, starts), rows or [(None, None)] * sum(sizes)


def _rows(file: ParquetFile, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(_NAME_ROWS, columns=list(columns)):
        yield from batch.to_pylist()


def _name_and_label(row: dict[str, Any]) -> tuple[str | None, Label | None]:
    name, label = (row.get(_IMAGE) or {}).get("path"), row.get(_LABEL)
    image_path = PurePosixPath(name or "/")
    is_safe = not image_path.is_absolute() and ".." not in image_path.parts
    if isinstance(label, str):
        label = parse_label(label)
    if label is not None and (isinstance(label, bool) or not isinstance(label, int | str)):
        raise ValueError(f"its column '{_LABEL}' holds neither integers nor text")
    return str(image_path) if is_safe else None, label


def _cells(path: Path, layout: _Layout, chosen: Sequence[int]) -> Iterator[bytes | _Unreadable]:
    """Read the bytes of some rows, or the reason why they cannot be read."""
    for group, rows in groupby(chosen, lambda i: bisect_right(layout.starts, i) - 1):
        wanted, done = [i - layout.starts[group] for i in rows], 0
        try:
            with _open_file(path) as file:
                for data in _read_group(file, layout.column, group, wanted):
                    yield data
                    done += 1
        except Exception as error:  # pyarrow's errors have no common base
            for _ in wanted[done:]:
                yield _Unreadable(f"{path.name} is damaged ({first_line(error)})")


def _read_group(
    file: ParquetFile, column: str, group: int, wanted: Sequence[int]
) -> Iterator[bytes | _Unreadable]:
    """Read the bytes of some rows of a row group, by their index in the group."""
    row, remaining = 0, list(reversed(wanted))
    for batch in file.iter_batches(_IMAGE_ROWS, row_groups=[group], columns=[column]):
        cells = batch.column(0)
        if column != _IMAGE:
            cells = cells.field("bytes")
        while remaining and remaining[-1] < row + len(cells):
            data = cells[remaining.pop() - row].as_py()
            yield data if isinstance(data, bytes) else _Unreadable("the row holds no bytes")
        if not remaining:
            return
        row += len(cells)
    raise ValueError("it ends early")


class _Unreadable(str):
    """The reason why the image of a row cannot be read."""


def _bytes_or_raise(data: bytes | _Unreadable, name: str) -> bytes:
    if isinstance(data, _Unreadable):
        raise ImageError(f"{name}: {data}")
    return data
