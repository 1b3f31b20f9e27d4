"""Texts in files: always UTF-8, complete or not there at all, and no file is lost."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from adcc_onnx.atomic_files import write_atomically
from adcc_onnx.errors import OptionError, StoreError, first_line


def check_text_file(path: Path, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Check that a text may be written to a file.

    Args:
        path: The file. A device or a pipe, such as /dev/stdout, may always be written.
        force: Whether an existing file may be replaced.
        inputs: Files that are never replaced.

    Raises:
        OptionError: The file is a folder or an input, or exists and may not be replaced.
    """
    if not os.path.lexists(path):
        return
    if path.is_dir():
        raise OptionError(f"{path} is a folder: choose a file with -o")
    if any(path.exists() and one.exists() and path.samefile(one) for one in inputs):
        raise OptionError(f"{path} is an input, which is never replaced: choose another name")
    if not force and (path.is_file() or not path.exists()):
        raise OptionError(
            f"{path} exists: choose another name with -o, or replace the file with --force"
        )


def write_text_file(path: Path, text: str) -> None:
    """Write a text in UTF-8; a file keeps its old content until the new one is complete.

    Args:
        path: The file; a link is kept, and the file behind it is replaced.
        text: The text, whose line ends stay as they are.

    Raises:
        StoreError: The file cannot be written.
    """
    content = text.encode("utf-8", "backslashreplace")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a device or a pipe
        else:
            write_atomically(Path(os.path.realpath(path)), content)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise StoreError(
            f"cannot write {path}: {reason}; choose another file or folder with -o"
        ) from error
