"""Checks that Pillow does not make: PNG checksums, end and number of scans of a JPEG."""

from __future__ import annotations

import re
import zlib

from adcc_onnx.errors import ImageError

# A progressive JPEG has about ten scans. Each costs a pass over the whole image, however few bytes
# it has, so decoding a small file with thousands of scans would take hours.
_MAX_SCANS = 100
# The coefficients of a JPEG with several scans are kept in memory, 6 bytes per pixel or more.
_MAX_PROGRESSIVE_PIXELS = 120_000_000
# Upper bound on the pixels per byte: 8 codes of one bit, each for a block of 8 x 8 pixels, and
# at most every second block absent by subsampling. Decoders fill missing data with gray.
_MAX_PIXELS_PER_BYTE = 8 * 64 * 2
# A marker is a byte after 0xFF; 0 and restart markers occur within scans, repeated 0xFF is padding.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START, _END, _SCAN, _PRIVATE = 0xD8, 0xD9, 0xDA, 0x01
# Pillow reads comments byte by byte, which takes a minute for a file of only comments.
_MAX_PPM_HEADER = 2**14
_PPM = re.compile(rb"P[0-6Ffy]")
_PPM_HEADER = re.compile(rb"P[1-6](?:(?:\s|#[^\r\n]*[\r\n])+\d{1,10}){2,3}\s")
_PNG_SIGNATURE, _PNG_FRAME = 8, 12


def check_complete(data: bytes, kind: str | None, pixels: int, name: str) -> None:
    """Check an encoded image for damage that Pillow's decoders overlook.

    Args:
        data: Content of the file.
        kind: Pillow's name of the format; only JPEG, MPO and PNG are checked.
        pixels: Number of pixels according to the header.
        name: Name of the image, for error messages.

    Raises:
        ImageError: The image is truncated, has a wrong checksum, has too many scans, or is a very
            large JPEG with several scans.
    """
    if kind in ("JPEG", "MPO"):
        _check_scans(data, pixels, name)
    if kind == "PNG":
        _check_chunks(data, name)


def check_ppm_header(data: bytes, name: str) -> None:
    """Check that the header of a PPM, PGM or PBM file is short; other formats are not checked.

    Args:
        data: Content of the file.
        name: Name of the image, for error messages.

    Raises:
        ImageError: The header, with its comments, is longer than 16 KiB or damaged.
    """
    if _PPM.match(data) and not _PPM_HEADER.match(data[:_MAX_PPM_HEADER]):
        raise ImageError(
            f"{name}: not an image of a known format, or a PPM whose header is damaged or longer "
            f"than {_MAX_PPM_HEADER:,} bytes"
        )


def _check_scans(data: bytes, pixels: int, name: str) -> None:
    """Check the length, the number of scans and the end marker of a JPEG."""
    if pixels > _MAX_PIXELS_PER_BYTE * len(data):
        raise ImageError(f"{name}: truncated ({len(data):,} bytes for {pixels:,} pixels)")
    if pixels > _MAX_PROGRESSIVE_PIXELS and _count_scans(data, name) > 1:
        raise ImageError(
            f"{name}: {pixels:,} pixels are more than {_MAX_PROGRESSIVE_PIXELS:,}, the limit of "
            "progressive JPEG images"
        )
    # Counting by markers is slow and rarely needed.
    few = data.count(bytes((0xFF, _SCAN))) <= _MAX_SCANS
    if few and data.endswith(bytes((0xFF, _END))):
        return
    if _count_scans(data, name) > _MAX_SCANS:
        raise ImageError(f"{name}: the JPEG has more than {_MAX_SCANS} scans")


def _count_scans(data: bytes, name: str) -> int:
    """Count the scans of a JPEG up to its end marker."""
    at = scans = 0
    while match := _MARKER.search(data, at):
        marker, at = match[1][0], match.end()
        if marker == _END:
            return scans
        if marker not in (_START, _PRIVATE):
            at += int.from_bytes(data[at : at + 2], "big")
        scans += marker == _SCAN
    raise ImageError(f"{name}: truncated (the JPEG has no end marker)")


def _check_chunks(data: bytes, name: str) -> None:
    """Check the checksums of all critical chunks of a PNG, up to its end chunk."""
    at, view = _PNG_SIGNATURE, memoryview(data)
    while at + _PNG_FRAME <= len(data):
        kind = bytes(view[at + 4 : at + 8])
        end = at + _PNG_FRAME + int.from_bytes(view[at : at + 4], "big")
        if kind[:1].isupper() and end <= len(data):
            wanted = int.from_bytes(view[end - 4 : end], "big")
            if zlib.crc32(view[at + 4 : end - 4]) != wanted:
                raise ImageError(f"{name}: damaged (the checksum of its {kind!r} chunk is wrong)")
            if kind == b"IEND":
                return
        at = end
    raise ImageError(f"{name}: truncated (the PNG has no end chunk)")
