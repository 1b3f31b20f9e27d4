"""Reading image files with a limit on the size."""

from __future__ import annotations

import stat
from pathlib import Path

from adcc_onnx.errors import ImageError

# Larger than any photo; checked before anything is read.
MAX_BYTES = 256 * 2**20


def read_bytes(
    path: Path, name: str, offset: int = 0, size: int | None = None, max_bytes: int = MAX_BYTES
) -> bytes:
    """Read a file or a part of it.

    Args:
        path: The file.
        name: Name of the image, for error messages.
        offset: First byte to read.
        size: Number of bytes to read. Default: up to the end of the file.
        max_bytes: Largest number of bytes allowed.

    Returns:
        The bytes.

    Raises:
        ImageError: The file is missing, unreadable, not a regular file (a folder or a device) or
            too short, or more than `max_bytes` would be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name}: cannot be read (it is not a regular file)")
        wanted = status.st_size - offset if size is None else size
        if wanted > max_bytes:
            raise ImageError(f"{name}: {wanted:,} bytes are more than {max_bytes:,}")
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(wanted)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read ({reason})") from error
    if len(data) < wanted:
        raise ImageError(f"{name}: truncated ({path.name} ends {wanted - len(data):,} bytes early)")
    return data
