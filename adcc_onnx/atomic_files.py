"""Files that get their new content at once, or keep the old one."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside a file, and give it the file's name and permissions.

    Readers, and a process that is killed, see the old content or the new one, never a part of it.

    Args:
        path: The file, which may exist.
        content: The new content.

    Raises:
        OSError: The file cannot be written; then it keeps its old content.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder, "a"), b"first")
        ...     write_atomically(Path(folder, "a"), b"second")
        ...     Path(folder, "a").read_bytes()
        b'second'
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
