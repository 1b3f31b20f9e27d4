"""Pictures in Parquet, as Hugging Face lays them out; needs the extra `[parquet]`."""

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
# Rows read at once: of the pictures themselves, and of their names and labels.
_PICTURES, _NAMES = 4, 4096
_BUFFER = 2**20


def parquet_source(path: Path, prefix: str = "") -> Source:
    """The rows of a file with a column `image` (encoded bytes, or a struct {bytes, path}).

    A column `label` gives the labels, whole numbers or text. Pictures are named by their `path`,
    where every row has one that is relative and stays inside; else by the number of their row.
    Row groups of which nothing is wanted are passed over.

    Args:
        path: the file.
        prefix: put before names that are numbers.

    Raises:
        SourceError: pyarrow is missing, or the file is broken or has no such column.
    """
    layout, rows = _index(path)
    labels = [label for _, label in rows]
    numbered = any(name is None for name, _ in rows)
    names = unique_names(f"{prefix}{i}" if numbered else str(rows[i][0]) for i in range(len(rows)))

    def read(positions: Iterable[int]) -> Iterator[Record]:
        chosen = list(positions)
        for i, data in zip(chosen, _cells(path, layout, chosen), strict=True):
            yield encoded_record(names[i], labels[i], partial(_given, data, names[i]))

    return Source(names, labels, read)


@dataclass(frozen=True)
class _Layout:
    """The column of the bytes, and the first row of every row group."""

    column: str
    starts: Sequence[int]


def _opened(path: Path) -> ParquetFile:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise SourceError(
            f'{path} needs pyarrow to be read: pip install "adcc-onnx[parquet]"'
        ) from error
    return ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)


def _index(path: Path) -> tuple[_Layout, list[tuple[str | None, Label | None]]]:
    """(where the pictures lie, the name and the label of every row)."""
    try:
        with _opened(path) as file:
            leaves = {file.schema.column(i).path for i in range(len(file.schema))}
            column = f"{_IMAGE}.bytes" if f"{_IMAGE}.bytes" in leaves else _IMAGE
            if column not in leaves:
                raise SourceError(f"{path} has no column '{_IMAGE}' of bytes or {{bytes, path}}")
            wanted = [leaf for leaf in (f"{_IMAGE}.path", _LABEL) if leaf in leaves]
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            rows = [_named(row) for row in _rows(file, wanted)] if wanted else []
    except SourceError:
        raise
    except Exception as error:  # pyarrow's errors have no common base
        raise SourceError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
    if not sum(sizes):
        raise SourceError(f"{path} has no rows")
    starts = list(accumulate(sizes[:-1], initial=0))
    return _Layout(column, starts), rows or [(None, None)] * sum(sizes)


def _rows(file: ParquetFile, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(_NAMES, columns=list(columns)):
        yield from batch.to_pylist()


def _named(row: dict[str, Any]) -> tuple[str | None, Label | None]:
    name, label = (row.get(_IMAGE) or {}).get("path"), row.get(_LABEL)
    place = PurePosixPath(name or "/")
    inside = not place.is_absolute() and ".." not in place.parts
    if isinstance(label, str):
        label = parse_label(label)
    if label is not None and (isinstance(label, bool) or not isinstance(label, int | str)):
        raise ValueError(f"its column '{_LABEL}' holds neither whole numbers nor text")
    return str(place) if inside else None, label


def _cells(path: Path, layout: _Layout, chosen: Sequence[int]) -> Iterator[bytes | _Broken]:
    """The bytes of some rows, or why there are none."""
    for group, rows in groupby(chosen, lambda i: bisect_right(layout.starts, i) - 1):
        wanted, given = [i - layout.starts[group] for i in rows], 0
        try:
            with _opened(path) as file:
                for data in _of_group(file, layout.column, group, wanted):
                    yield data
                    given += 1
        except Exception as error:  # pyarrow's errors have no common base
            for _ in wanted[given:]:
                yield _Broken(f"{path.name} is broken ({first_line(error)})")


def _of_group(
    file: ParquetFile, column: str, group: int, wanted: Sequence[int]
) -> Iterator[bytes | _Broken]:
    """The bytes of some rows of a row group, by their numbers in it."""
    row, left = 0, list(reversed(wanted))
    for batch in file.iter_batches(_PICTURES, row_groups=[group], columns=[column]):
        cells = batch.column(0)
        if column != _IMAGE:
            cells = cells.field("bytes")
        while left and left[-1] < row + len(cells):
            data = cells[left.pop() - row].as_py()
            yield data if isinstance(data, bytes) else _Broken("it holds no bytes")
        if not left:
            return
        row += len(cells)
    raise ValueError("it ends early")


class _Broken(str):
    """Why a row has no picture."""


def _given(data: bytes | _Broken, name: str) -> bytes:
    if isinstance(data, _Broken):
        raise ImageError(f"{name}: {data}")
    return data
