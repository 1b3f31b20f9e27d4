"""Pictures in a tar, read where they lie: nothing is unpacked, followed or written.

The archive is untrusted: only its headers are interpreted, and these within bounds.
"""

from __future__ import annotations

import io
import json
import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from posixpath import basename, splitext
from typing import IO

from adcc_onnx.errors import ImageError, SourceError, first_line
from adcc_onnx.images.decoding.decode import SUFFIXES
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.sources.encoded_images import ReadBytes, random_access_source
from adcc_onnx.images.sources.image_source import Label, Source, parse_label, unique_names

# Of a header with a long name in it, and of a file with a label: far above what either needs.
_MOST_HEADER, _MOST_SIDECAR = 2**16, 2**20
_SIDECARS = (".cls", ".json")


def tar_source(path: Path, prefix: str = "") -> Source:
    """The pictures of an uncompressed tar, in its order.

    Labels by WebDataset's naming: members that share all up to the first dot of their base name
    belong together; `.cls` holds the label as text, `.json` under the key "label". Where such a
    group has both `KEY.jpg` and `KEY.seg.png`, only the first is an image.
    A picture that is a link, a device or sparse, or whose name is absolute or holds "..", fails by
    itself.

    Args:
        path: the archive.
        prefix: put before the names of its images.

    Raises:
        SourceError: it is no tar, compressed, broken, or holds no picture.
    """
    index = _index(path)
    companions = _companions(index)
    kept = [i for i in range(len(index.names)) if i not in companions]
    if not kept:
        raise SourceError(f"no image in {path} (looked for {', '.join(SUFFIXES)})")
    names = unique_names(prefix + index.names[i] for i in kept)
    labels = [index.labels.get(_key(index.names[i])) for i in kept]

    def read(position: int) -> ReadBytes:
        i, name = kept[position], names[position]
        trouble = index.troubles.get(index.names[i]) or index.troubles.get(_key(index.names[i]))
        if trouble:
            return partial(_fail, f"{name}: {trouble}")
        return partial(read_bytes, path, name, index.offsets[i], index.sizes[i])

    return random_access_source(names, labels, read)


@dataclass(frozen=True)
class _Index:
    """Where the pictures of an archive lie.

    Attributes:
        names, offsets, sizes: of the pictures, in the archive's order.
        labels: by key.
        troubles: why a picture, by its name or its key, cannot be taken.
    """

    names: list[str] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    labels: dict[str, Label] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)


def _index(path: Path) -> _Index:
    index = _Index()
    for member in _members(path):
        name, trouble = _plain(member.name), _trouble(member)
        kind = splitext(name)[1].lower()
        if basename(name).startswith("."):
            continue
        if kind in SUFFIXES:
            index.names.append(name)
            index.offsets.append(member.offset_data)
            index.sizes.append(member.size)
            if trouble:
                index.troubles[name] = trouble
        elif kind in _SIDECARS and not trouble:
            try:
                _add_label(index, path, member, _key(name))
            except ImageError as error:
                index.troubles[_key(name)] = str(error)
    return index


def _companions(index: _Index) -> set[int]:
    """Pictures of a labeled group that are not its image, as `KEY.seg.png` beside `KEY.jpg`."""
    compound = [
        i
        for i, name in enumerate(index.names)
        if _key(name) in index.labels and not _is_alone(name)
    ]
    alone = {_key(name) for name in index.names if _is_alone(name)} if compound else set()
    return {i for i in compound if _key(index.names[i]) in alone}


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with (
            _Headers(path.open("rb", buffering=0)) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
        ):
            end, length = -1, path.stat().st_size
            while (member := tar.next()) is not None:
                # The library would keep every header, and goes back where a size is negative.
                tar.members.clear()  # type: ignore[attr-defined]
                size = member.size if member.isreg() else 0
                if tar.offset <= end or not 0 <= size <= length - member.offset_data:
                    raise tarfile.ReadError(f"it is cut short, or broken at byte {end + 1:,}")
                end = tar.offset
                yield member
            _require_end(stream, tar.offset)
    except Exception as error:  # the library raises whatever a broken header leads it to
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{path} cannot be read as an uncompressed tar: {first_line(error)}"
        ) from error


class _Headers(io.BufferedReader):
    """A file of which the library may read headers only: what claims to be a longer one is not."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {size or 0:,} bytes")
        return super().read(size)


def _require_end(stream: IO[bytes], offset: int) -> None:
    """The library stops at a broken header as at the end; the end is a block of zeros or none."""
    stream.seek(offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"a broken header at byte {offset:,}")


def _trouble(member: tarfile.TarInfo) -> str:
    """Why a member is not read; empty if it can be."""
    if not member.isreg() or member.issparse():
        return "it is no plain file in its archive, and links are not followed"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its name leads out of its archive"
    return ""


def _add_label(index: _Index, path: Path, member: tarfile.TarInfo, key: str) -> None:
    """Enter the label that a sidecar gives.

    Raises:
        ImageError: it gives none, or another than its fellow does.
    """
    data = read_bytes(path, member.name, member.offset_data, member.size, _MOST_SIDECAR)
    label = _label_in(data, member.name)
    if label is not None and index.labels.setdefault(key, label) != label:
        raise ImageError(f"{member.name} gives it a second label")


def _label_in(data: bytes, name: str) -> Label | None:
    try:
        if name.lower().endswith(".cls"):
            return parse_label(data.decode())
        given = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"its label in {name} cannot be read") from error
    label = given.get("label") if isinstance(given, dict) else None
    if label is None or (isinstance(label, int | str) and not isinstance(label, bool)):
        return label
    raise ImageError(f"its label in {name} is neither a number nor a name")


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _is_alone(name: str) -> bool:
    """Whether nothing but the suffix stands behind the key."""
    return splitext(name)[0] == _key(name)


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _fail(reason: str) -> bytes:
    raise ImageError(reason)
