"""Images in tar archives, read in place: nothing is extracted and no link is followed.

The archive is untrusted: only headers of a limited size are parsed.
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
from adcc_onnx.images.decoding.decode import HEIF_SUFFIXES, SUFFIXES
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.sources.encoded_images import random_access_source
from adcc_onnx.images.sources.image_source import (
    Label,
    ReadBytes,
    Source,
    parse_label,
    unique_names,
)

# Size limits in bytes of a header (long names included) and of a label file.
_MAX_HEADER, _MAX_SIDECAR = 2**16, 2**20
_IMAGES = (*SUFFIXES, *HEIF_SUFFIXES)
_SIDECARS = (".cls", ".json")


def tar_source(path: Path, prefix: str = "") -> Source:
    """Open the images of an uncompressed tar archive, in the order of the archive.

    Labels follow WebDataset's naming: members whose names are equal up to the first dot of the
    base name form a sample; its `.cls` file holds the label as text, or its `.json` file under the
    key "label". If a labeled sample has both `KEY.jpg` and `KEY.seg.png`, only the first is used
    as an image.
    A member that is a link, a device or sparse, or whose name is absolute or contains "..", is
    listed, but loading it fails.

    Args:
        path: The archive.
        prefix: Prefix of the names of its images.

    Returns:
        The images.

    Raises:
        SourceError: The file is not a tar archive, is compressed or damaged, or holds no image.
    """
    index = _build_index(path)
    secondary = _secondary_images(index)
    kept = [i for i in range(len(index.names)) if i not in secondary]
    if not kept:
        raise SourceError(f"no image in {path} (looked for {', '.join(_IMAGES)})")
    names = unique_names(prefix + index.names[i] for i in kept)
    labels = [index.labels.get(_key(index.names[i])) for i in kept]

    def read(position: int) -> ReadBytes:
        i, name = kept[position], names[position]
        problem = index.problems.get(index.names[i]) or index.problems.get(_key(index.names[i]))
        if problem:
            return partial(_fail, f"{name}: {problem}")
        return partial(read_bytes, path, name, index.offsets[i], index.sizes[i])

    return random_access_source(names, labels, read)


@dataclass(frozen=True)
class _Index:
    """Location of the images in an archive.

    Attributes:
        names: Member names of the images, in the order of the archive.
        offsets: First byte of each image.
        sizes: Size of each image in bytes.
        labels: Labels by sample key.
        problems: Reasons why an image cannot be read, by member name or sample key.
    """

    names: list[str] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    labels: dict[str, Label] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def _build_index(path: Path) -> _Index:
    index = _Index()
    for member in _members(path):
        name, problem = _normalize_name(member.name), _problem_of(member)
        kind = splitext(name)[1].lower()
        if basename(name).startswith("."):
            continue
        if kind in _IMAGES:
            index.names.append(name)
            index.offsets.append(member.offset_data)
            index.sizes.append(member.size)
            if problem:
                index.problems[name] = problem
        elif kind in _SIDECARS and not problem:
            try:
                _add_label(index, path, member, _key(name))
            except ImageError as error:
                index.problems[_key(name)] = str(error)
    return index


def _secondary_images(index: _Index) -> set[int]:
    """Find further images of a labeled sample, such as `KEY.seg.png` if there is `KEY.jpg`."""
    compound = [
        i
        for i, name in enumerate(index.names)
        if _key(name) in index.labels and not _has_single_suffix(name)
    ]
    if not compound:
        return set()
    primary = {_key(name) for name in index.names if _has_single_suffix(name)}
    return {i for i in compound if _key(index.names[i]) in primary}


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with (
            _Headers(path.open("rb", buffering=0)) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
        ):
            end, length = -1, path.stat().st_size
            while (member := tar.next()) is not None:
                # tarfile keeps every header in memory, and a negative size makes it loop.
                tar.members.clear()  # type: ignore[attr-defined]
                size = member.size if member.isreg() else 0
                if tar.offset <= end or not 0 <= size <= length - member.offset_data:
                    raise tarfile.ReadError(f"it is truncated, or damaged at byte {end + 1:,}")
                end = tar.offset
                yield member
            _check_end(stream, tar.offset)
    except Exception as error:  # tarfile raises all kinds of errors on damaged headers
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{path} cannot be read as an uncompressed tar: {first_line(error)}"
        ) from error


class _Headers(io.BufferedReader):
    """A file from which tarfile can read no more than a header of limited size at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes, at most the size limit of a header."""
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size or 0:,} bytes is too large")
        return super().read(size)


def _check_end(stream: IO[bytes], offset: int) -> None:
    """Check that the archive ends here: tarfile also stops, silently, at a damaged header."""
    stream.seek(offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"the header at byte {offset:,} is damaged")


def _problem_of(member: tarfile.TarInfo) -> str:
    """Explain why a member must not be read; empty if it may."""
    if not member.isreg() or member.issparse():
        return "it is not a regular file in its archive (links are not followed)"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its name is a path that leaves the archive"
    return ""


def _add_label(index: _Index, path: Path, member: tarfile.TarInfo, key: str) -> None:
    """Add the label in a sidecar file to the index.

    Raises:
        ImageError: The label is invalid, or differs from that in another sidecar file.
    """
    data = read_bytes(path, member.name, member.offset_data, member.size, _MAX_SIDECAR)
    label = _read_label(data, member.name)
    if label is not None and index.labels.setdefault(key, label) != label:
        raise ImageError(f"{member.name} gives it another label")


def _read_label(data: bytes, name: str) -> Label | None:
    try:
        if name.lower().endswith(".cls"):
            return parse_label(data.decode())
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"its label in {name} cannot be read") from error
    label = content.get("label") if isinstance(content, dict) else None
    if label is None or (isinstance(label, int | str) and not isinstance(label, bool)):
        return label
    raise ImageError(f"its label in {name} is neither a number nor a name")


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _has_single_suffix(name: str) -> bool:
    """Tell whether the name is its sample key and one suffix."""
    return splitext(name)[0] == _key(name)


def _normalize_name(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _fail(reason: str) -> bytes:
    raise ImageError(reason)
