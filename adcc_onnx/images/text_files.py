"""Reading text files from untrusted sources with a limit on their size."""

from __future__ import annotations

from pathlib import Path

from adcc_onnx.errors import ImageError
from adcc_onnx.images.decoding.file_bytes import read_bytes

# Several times the list of ImageNet's 1.3 million training images.
MAX_TEXT_BYTES = 256 * 2**20


def read_text(path: Path, title: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        title: What the file is, for error messages, such as "the card net.toml".
        max_bytes: Largest size of the file in bytes.

    Returns:
        The text.

    Raises:
        ValueError: The file is missing, not a regular file, too large or not UTF-8.
    """
    try:
        return read_bytes(path, title, max_bytes=max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{title} cannot be read: byte {error.start:,} is not UTF-8; save the file as UTF-8"
        ) from error
    except ImageError as error:
        raise ValueError(str(error).replace(": cannot be read", " cannot be read", 1)) from error
