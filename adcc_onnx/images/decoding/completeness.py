"""What Pillow does not check: a PNG's checksums, a JPEG's end and what its few bytes ask for."""

from __future__ import annotations

import re
import zlib

from adcc_onnx.errors import ImageError

# A progressive JPEG has some ten scans. Every one costs a walk over the whole picture, however few
# bytes it has, so that a small file of thousands would be decoded for hours.
_MOST_SCANS = 100
# A code takes a bit at least, a block of 8 x 8 pixels a code, and of the odd samplings the finest
# has a block for every second. What is missing would be filled with gray.
_MOST_PIXELS_A_BYTE = 8 * 64 * 2
# A marker is a byte after 0xFF; 0 and the restarts stand within a scan, more 0xFF only fill.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START, _END, _SCAN, _PRIVATE = 0xD8, 0xD9, 0xDA, 0x01
_PNG_SIGNATURE, _PNG_FRAME = 8, 12


def check_complete(data: bytes, kind: str | None, pixels: int, name: str) -> None:
    """An encoded picture must be sound in what its decoder does not look at.

    Args:
        data: the file.
        kind: its format; of others than JPEG and PNG nothing can be said here.
        pixels: how many its header promises.
        name: of the image, for the message.

    Raises:
        ImageError: it is not.
    """
    if kind in ("JPEG", "MPO"):
        _check_scans(data, pixels, name)
    if kind == "PNG":
        _check_chunks(data, name)


def _check_scans(data: bytes, pixels: int, name: str) -> None:
    """The length of a JPEG, the number of its scans and its end."""
    if pixels > _MOST_PIXELS_A_BYTE * len(data):
        raise ImageError(f"{name}: cut short ({len(data):,} bytes for {pixels:,} pixels)")
    # The walk is slow, and hardly ever needed.
    few = data.count(bytes((0xFF, _SCAN))) <= _MOST_SCANS
    if few and data.endswith(bytes((0xFF, _END))):
        return
    if _scans(data, name) > _MOST_SCANS:
        raise ImageError(f"{name}: a JPEG of more than {_MOST_SCANS} scans")


def _scans(data: bytes, name: str) -> int:
    """How many scans a JPEG has up to its end."""
    at = scans = 0
    while match := _MARKER.search(data, at):
        marker, at = match[1][0], match.end()
        if marker == _END:
            return scans
        if marker not in (_START, _PRIVATE):
            at += int.from_bytes(data[at : at + 2], "big")
        scans += marker == _SCAN
    raise ImageError(f"{name}: cut short (the JPEG has no end)")


def _check_chunks(data: bytes, name: str) -> None:
    """The checksums of all chunks of a PNG that its picture depends on, up to its end."""
    at, view = _PNG_SIGNATURE, memoryview(data)
    while at + _PNG_FRAME <= len(data):
        kind = bytes(view[at + 4 : at + 8])
        end = at + _PNG_FRAME + int.from_bytes(view[at : at + 4], "big")
        if kind[:1].isupper() and end <= len(data):
            wanted = int.from_bytes(view[end - 4 : end], "big")
            if zlib.crc32(view[at + 4 : end - 4]) != wanted:
                raise ImageError(f"{name}: broken (the checksum of its {kind!r} is wrong)")
            if kind == b"IEND":
                return
        at = end
    raise ImageError(f"{name}: cut short (the PNG has no end)")
