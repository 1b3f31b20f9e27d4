"""Bytes of an image from a file, within bounds."""

from __future__ import annotations

import stat
from pathlib import Path

from adcc_onnx.errors import ImageError

# Larger than any photo; checked before anything is read.
MOST_BYTES = 256 * 2**20


def read_bytes(
    path: Path, name: str, offset: int = 0, size: int | None = None, most: int = MOST_BYTES
) -> bytes:
    """`size` bytes of a file from `offset`, or all of it.

    Args:
        name: of the image, for the message.
        most: how many bytes are too many.

    Raises:
        ImageError: the file is missing, unreadable, no file but a folder or a device, ends before,
            or too much is asked of it.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name}: cannot be read (it is no regular file)")
        wanted = status.st_size - offset if size is None else size
        if wanted > most:
            raise ImageError(f"{name}: {wanted:,} bytes are more than {most:,}")
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(wanted)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read ({reason})") from error
    if len(data) < wanted:
        raise ImageError(f"{name}: cut short ({path.name} ends {wanted - len(data):,} bytes early)")
    return data
