"""Preprocessed tensors: arrays in memory, and arrays in an `.npz` file, read image by image."""

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
from numpy.typing import NDArray

from adcc_onnx.errors import ImageError, SourceError, first_line
from adcc_onnx.images.decoding.band_files import bands_of_array, rgb_of_array
from adcc_onnx.images.decoding.file_bytes import MAX_BYTES, read_bytes
from adcc_onnx.images.decoding.npy_header import read_npy_header
from adcc_onnx.images.pixel_arrays import Mask
from adcc_onnx.images.sources.image_source import Label, Load, Record, Source

# Local header of a zip member: size of its fixed part, offsets of the lengths of name and extra.
_LOCAL_HEADER, _LENGTHS = 30, (26, 28, 30)
_CHUNK = 2**20
_COLORS = (1, 3)  # numbers of channels that decide the layout of pixels
# Largest array that is read as a whole: labels, and arrays in Fortran order.
_MAX_WHOLE_BYTES = 2**29
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
    """An array whose rows, along the first axis, are read on demand.

    Attributes:
        shape: Shape of the array.
        dtype: Type of its elements.
        at: Function from increasing row indices to the functions that load these rows.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    at: Callable[[Sequence[int]], Iterator[Load]]


def array_source(
    tensors: NDArray[Any], labels: NDArray[Any] | None = None, masks: NDArray[Any] | None = None
) -> Source:
    """Make a source of preprocessed tensors in memory.

    Args:
        tensors: Floating-point tensors, [N, C, H, W].
        labels: Labels, integers or text, [N]. Default: none.
        masks: Ground-truth masks, bool or integers, [N, H, W]. Default: none.

    Returns:
        The tensors, named "0", "1", ...

    Raises:
        SourceError: An array has a wrong rank, size or type.
    """
    return _source(_rows(tensors), labels, None if masks is None else _rows(masks))


def npz_source(path: Path) -> Source:
    """Open an `.npz` file with preprocessed tensors.

    One image is in memory at a time: an uncompressed file (`numpy.savez`) is read at random, a
    compressed one in order. Only arrays in Fortran order are read as a whole.

    Args:
        path: File with the array `x` [N, C, H, W] and optionally `label` [N] and `mask` [N, H, W].
            If `x` is uint8, it holds images, [N, H, W, C] or [N, C, H, W].

    Returns:
        The tensors or images, named "0", "1", ...

    Raises:
        SourceError: The file cannot be read, holds no `x`, or its arrays do not fit each other.
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
        labels = _load_array(path, "label") if "label" in found else None
    except SourceError:
        raise
    except Exception as error:  # numpy raises all kinds of errors on damaged headers
        raise SourceError(f"{path} cannot be read as .npz: {first_line(error)}") from error
    x = found["x"]
    pixels = x.dtype == np.uint8 and len(x.shape) == 4 and x.shape[0] > 0
    return (_pixel_source if pixels else _source)(x, labels, found.get("mask"))


def _source(x: _Rows, labels: NDArray[Any] | None, masks: _Rows | None) -> Source:
    _check_shapes(x, masks)
    labels_or_none = _check_labels(labels, x.shape[0])

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for i, load, mask in _rows_at(positions, x, masks):
            yield Record(str(i), labels_or_none[i], partial(_to_tensor, load), mask)

    return Source(_IndexNames(x.shape[0]), labels_or_none, read, preprocessed=True)


def _pixel_source(x: _Rows, labels: NDArray[Any] | None, masks: _Rows | None) -> Source:
    """Make a source of images from pixels that are not preprocessed."""
    first = _has_channels_first(x.shape)
    _check_masks(x, x.shape[2:] if first else x.shape[1:3], masks)
    labels_or_none = _check_labels(labels, x.shape[0])

    def read(positions: Iterable[int]) -> Iterator[Record]:
        for i, load, mask in _rows_at(positions, x, masks):
            yield Record(
                str(i),
                labels_or_none[i],
                partial(_to_rgb, load, first, str(i)),
                mask,
                load_bands=partial(_to_bands, load, first, str(i)),
            )

    return Source(_IndexNames(x.shape[0]), labels_or_none, read)


def _has_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether pixels are [N, C, H, W]; the axis that can be colors decides, then the smaller."""
    first, last = shape[1] in _COLORS, shape[3] in _COLORS
    return first if first != last else shape[1] < shape[3]


def _to_rgb(load: Load, channels_first: bool, name: str) -> NDArray[np.uint8]:
    pixels = load()
    return rgb_of_array(np.moveaxis(pixels, 0, 2) if channels_first else pixels, name)


def _to_bands(load: Load, channels_first: bool, name: str, bands: int) -> NDArray[Any]:
    pixels = load()
    return bands_of_array(np.moveaxis(pixels, 0, 2) if channels_first else pixels, name, bands)


def _check_shapes(x: _Rows, masks: _Rows | None) -> None:
    if len(x.shape) != 4 or x.dtype.kind != "f" or not x.shape[0]:
        raise SourceError(
            f"preprocessed tensors must be floating-point [N, C, H, W], not {_describe(x)}"
        )
    _check_masks(x, x.shape[2:], masks)


def _check_masks(x: _Rows, size: tuple[int, ...], masks: _Rows | None) -> None:
    wanted = (x.shape[0], *size)
    if masks is not None and (masks.shape != wanted or masks.dtype.kind not in "biu"):
        raise SourceError(
            f"masks for tensors [{_format_shape(x.shape)}] must be bool "
            f"[{_format_shape(wanted)}], not {_describe(masks)}"
        )


def _check_labels(labels: NDArray[Any] | None, count: int) -> Sequence[Label | None]:
    if labels is None:
        return [None] * count
    if labels.size != count:
        raise SourceError(f"there are {count} tensors but {labels.size} labels")
    if labels.dtype.kind not in "iuU":
        raise SourceError(f"labels must be integers or text, not {labels.dtype}")
    checked: list[Label | None] = labels.reshape(-1).tolist()
    return checked


def _rows(array: NDArray[Any]) -> _Rows:
    """Wrap an array in memory."""
    return _Rows(
        array.shape, array.dtype, lambda chosen: (partial(array.__getitem__, i) for i in chosen)
    )


def _in_archive(path: Path, archive: zipfile.ZipFile, name: str) -> _Rows:
    info = archive.getinfo(name)
    with archive.open(info) as stream:
        header = read_npy_header(stream)
        start = stream.tell()
    shape, dtype = header.shape, header.dtype
    row = math.prod(shape[1:]) * dtype.itemsize
    if info.file_size != start + row * math.prod(shape[:1]):
        raise ValueError(f"the size of '{name}' does not fit its shape [{_format_shape(shape)}]")
    if row > MAX_BYTES:
        raise ValueError(f"one row of '{name}' has {row:,} bytes, more than {MAX_BYTES:,}")
    is_whole = (header.fortran and len(shape) > 1) or name == "label.npy"
    if is_whole and info.file_size > _MAX_WHOLE_BYTES:
        raise ValueError(
            f"'{name}' has {info.file_size:,} bytes, more than {_MAX_WHOLE_BYTES:,}"
            + (": save it in C order" if header.fortran else "")
        )
    if header.fortran and len(shape) > 1:
        return _rows(_load_array(path, name.removesuffix(".npy")))
    decode = partial(_decode_row, dtype=dtype, shape=shape[1:])
    if info.compress_type == zipfile.ZIP_STORED:
        first = _data_offset(path, info) + start

        def at_random(chosen: Sequence[int]) -> Iterator[Load]:
            reads = (partial(read_bytes, path, str(i), first + i * row, row) for i in chosen)
            return (partial(decode, read) for read in reads)

        return _Rows(shape, dtype, at_random)
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"the compression method of '{name}' is not one that numpy uses")

    def in_order(chosen: Sequence[int]) -> Iterator[Load]:
        return (partial(decode, read) for read in _decompress_rows(path, name, start, row, chosen))

    return _Rows(shape, dtype, in_order)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Find where the data of a member begin, from its local header (the index may differ)."""
    local = read_bytes(path, path.name, info.header_offset, _LOCAL_HEADER)
    name, extra = (int.from_bytes(local[a:b], "little") for a, b in pairwise(_LENGTHS))
    return info.header_offset + _LOCAL_HEADER + name + extra


def _decompress_rows(
    path: Path, name: str, start: int, row: int, chosen: Sequence[int]
) -> Iterator[Callable[[], bytes]]:
    """Read rows of a compressed member in order; after damage, all further rows fail."""
    at, damage = -start, ""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            stream: IO[bytes] = stack.enter_context(archive.open(name))
        except _ZIP_ERRORS as error:
            stream, damage = io.BytesIO(), first_line(error)
        for i in chosen:
            data = b""
            try:
                _skip(stream, i * row - at)
                data = stream.read(row)
            except _ZIP_ERRORS as error:
                damage = damage or first_line(error)
            at = (i + 1) * row
            if len(data) < row:
                damage = damage or "it is truncated"
            yield partial(_bytes_of_row, data, damage and f"{i}: {path.name} is damaged ({damage})")


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0 and (data := stream.read(min(count, _CHUNK))):
        count -= len(data)


def _bytes_of_row(data: bytes, problem: str) -> bytes:
    if problem:
        raise ImageError(problem)
    return data


def _load_array(path: Path, name: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[name])


def _decode_row(
    read: Callable[[], bytes], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    return np.frombuffer(read(), dtype).reshape(shape)


def _rows_at(
    positions: Iterable[int], x: _Rows, masks: _Rows | None
) -> Iterator[tuple[int, Load, Callable[[], Mask] | None]]:
    """Iterate over rows: the position, and functions that load the row and its mask."""
    chosen = list(positions)
    truths = repeat(None) if masks is None else masks.at(chosen)
    # Not strict: without masks, None is repeated indefinitely.
    for i, load, truth in zip(chosen, x.at(chosen), truths, strict=False):
        yield i, load, None if truth is None else partial(_to_mask, truth)


def _to_tensor(load: Load) -> NDArray[np.float32]:
    return np.ascontiguousarray(load(), dtype=np.float32)


def _to_mask(load: Load) -> Mask:
    return np.asarray(load() != 0)


def _describe(rows: _Rows) -> str:
    return f"{rows.dtype} [{_format_shape(rows.shape)}]"


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


class _IndexNames(Sequence[str]):
    """The names "0", "1", ... of unnamed images, computed on demand."""

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
