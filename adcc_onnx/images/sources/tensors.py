"""Ready tensors: arrays in memory, and arrays in an `.npz` read image by image."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, repeat
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from adcc_onnx.errors import ImageError, SourceError, first_line
from adcc_onnx.images.decoding.file_bytes import MOST_BYTES, read_bytes
from adcc_onnx.images.pixel_arrays import Mask
from adcc_onnx.images.sources.image_source import Label, Load, Record, Source

# A member's local header in a zip archive: its fixed part, and where the lengths of the rest stand.
_LOCAL_HEADER, _LENGTHS = 30, (26, 28, 30)
_CHUNK = 2**20
_ZIP_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class _Rows:
    """An array of which a row, along the first axis, is read when it is asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    at: Callable[[Sequence[int]], Iterator[Load]]


def array_source(
    tensors: NDArray[Any], labels: NDArray[Any] | None = None, masks: NDArray[Any] | None = None
) -> Source:
    """Preprocessed tensors [N, C, H, W], with perhaps a label and a mask [N, H, W] each.

    Raises:
        SourceError: another rank or type, or another number of labels or size of masks.
    """
    return _source(_rows(tensors), labels, None if masks is None else _rows(masks))


def npz_source(path: Path) -> Source:
    """The array `x` [N, C, H, W], and where given `label` [N] and `mask` [N, H, W].

    One image is in memory at a time. Those of a plain archive (`numpy.savez`) are reached each by
    itself; a compressed one is read through in order. Only arrays in Fortran's order are held
    whole.

    Raises:
        SourceError: it cannot be read, holds no `x`, or its arrays do not fit each other.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "x.npy" not in names:
                raise SourceError(f"{path} holds no array 'x' [N, C, H, W]")
            found = {
                key: _in_archive(path, archive, f"{key}.npy")
                for key in ("x", "label", "mask")
                if f"{key}.npy" in names
            }
        labels = _whole(path, "label") if "label" in found else None
    except SourceError:
        raise
    except Exception as error:  # numpy raises whatever a broken header leads it to
        raise SourceError(f"{path} cannot be read as .npz: {first_line(error)}") from error
    return _source(found["x"], labels, found.get("mask"))


def _source(x: _Rows, labels: NDArray[Any] | None, masks: _Rows | None) -> Source:
    _check_shapes(x, masks)
    known = _known(labels, x.shape[0])

    def read(positions: Iterable[int]) -> Iterator[Record]:
        chosen = list(positions)
        truths = repeat(None) if masks is None else masks.at(chosen)
        # Not strict: where there are no masks, None repeats without end.
        for i, load, truth in zip(chosen, x.at(chosen), truths, strict=False):
            seen = None if truth is None else partial(_mask, truth)
            yield Record(str(i), known[i], partial(_tensor, load), seen)

    return Source(_Numbers(x.shape[0]), known, read, preprocessed=True)


def _check_shapes(x: _Rows, masks: _Rows | None) -> None:
    if len(x.shape) != 4 or x.dtype.kind != "f" or not x.shape[0]:
        raise SourceError(f"ready tensors must be floating point [N, C, H, W], not {_kind(x)}")
    wanted = (x.shape[0], *x.shape[2:])
    if masks is not None and (masks.shape != wanted or masks.dtype.kind not in "biu"):
        raise SourceError(
            f"masks of tensors [{_sizes(x.shape)}] must be bool [{_sizes(wanted)}], "
            f"not {_kind(masks)}"
        )


def _known(labels: NDArray[Any] | None, count: int) -> Sequence[Label | None]:
    if labels is None:
        return [None] * count
    if labels.size != count:
        raise SourceError(f"there are {count} tensors but {labels.size} labels")
    if labels.dtype.kind not in "iuU":
        raise SourceError(f"labels must be whole numbers or text, not {labels.dtype}")
    known: list[Label | None] = labels.reshape(-1).tolist()
    return known


def _rows(array: NDArray[Any]) -> _Rows:
    """Of an array in memory."""
    return _Rows(
        array.shape, array.dtype, lambda chosen: (partial(array.__getitem__, i) for i in chosen)
    )


def _in_archive(path: Path, archive: zipfile.ZipFile, name: str) -> _Rows:
    info = archive.getinfo(name)
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream)
        start = stream.tell()
    row = math.prod(shape[1:]) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError("an array of objects is a pickle, and none is read (allow_pickle=False)")
    if info.file_size != start + row * math.prod(shape[:1]):
        raise ValueError(f"'{name}' holds less or more than its shape [{_sizes(shape)}]")
    if row > MOST_BYTES:
        raise ValueError(f"one row of '{name}' takes {row:,} bytes, more than {MOST_BYTES:,}")
    if fortran and len(shape) > 1:
        return _rows(_whole(path, name.removesuffix(".npy")))
    shaped = partial(_shaped, dtype=dtype, shape=shape[1:])
    if info.compress_type == zipfile.ZIP_STORED:
        first = _data_offset(path, info) + start

        def apart(chosen: Sequence[int]) -> Iterator[Load]:
            reads = (partial(read_bytes, path, str(i), first + i * row, row) for i in chosen)
            return (partial(shaped, read) for read in reads)

        return _Rows(shape, dtype, apart)
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"'{name}' is packed in a way that numpy does not use")

    def in_order(chosen: Sequence[int]) -> Iterator[Load]:
        return (partial(shaped, read) for read in _unpacked(path, name, start, row, chosen))

    return _Rows(shape, dtype, in_order)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether in Fortran's order, type) of a `.npy`."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise ValueError(f"an array of the format {version}, which no plain array has")


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's data begin: the lengths in its local header may differ from the index's."""
    local = read_bytes(path, path.name, info.header_offset, _LOCAL_HEADER)
    name, extra = (int.from_bytes(local[a:b], "little") for a, b in pairwise(_LENGTHS))
    return info.header_offset + _LOCAL_HEADER + name + extra


def _unpacked(
    path: Path, name: str, start: int, row: int, chosen: Sequence[int]
) -> Iterator[Callable[[], bytes]]:
    """Rows of a compressed member, read through in order; where it breaks, the rest fail."""
    at, broken = -start, ""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            stream: IO[bytes] = stack.enter_context(archive.open(name))
        except _ZIP_ERRORS as error:
            stream, broken = io.BytesIO(), first_line(error)
        for i in chosen:
            data = b""
            try:
                _skip(stream, i * row - at)
                data = stream.read(row)
            except _ZIP_ERRORS as error:
                broken = broken or first_line(error)
            at = (i + 1) * row
            if len(data) < row:
                broken = broken or "it is cut short"
            yield partial(_given, data, broken and f"{i}: {path.name} is broken ({broken})")


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0 and (data := stream.read(min(count, _CHUNK))):
        count -= len(data)


def _given(data: bytes, trouble: str) -> bytes:
    if trouble:
        raise ImageError(trouble)
    return data


def _whole(path: Path, name: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[name])


def _shaped(
    read: Callable[[], bytes], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    return np.frombuffer(read(), dtype).reshape(shape)


def _tensor(load: Load) -> NDArray[np.float32]:
    return np.ascontiguousarray(load(), dtype=np.float32)


def _mask(load: Load) -> Mask:
    return np.asarray(load() != 0)


def _kind(rows: _Rows) -> str:
    return f"{rows.dtype} [{_sizes(rows.shape)}]"


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


class _Numbers(Sequence[str]):
    """ "0", "1", ...: the names of images that have none, taking no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        chosen = range(self._count)[index]
        return [str(i) for i in chosen] if isinstance(chosen, range) else str(chosen)
