"""The lock of the only writer of a file of runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from adcc_onnx.errors import StoreError


class WriterLock:
    """An exclusive lock on a file next to the file of runs.

    SQLite locks the file, so that the lock ends with its process, however that ends. The file
    itself, `RUN.sqlite-lock`, says nothing. Readers do not need the lock.

    Args:
        path: The file of runs.

    Raises:
        StoreError: Another process holds the lock, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-lock")
        self._released = False
        try:
            self._connection = self._acquire()
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise StoreError(f"{path} cannot be opened for writing: {error}") from error
            raise StoreError(
                f"{path} is being written by another process: wait until it ends, or choose "
                "another file"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{path} cannot be opened for writing: {error.strerror} ({self._path.name})"
            ) from error

    @contextmanager
    def released_on_error(self) -> Iterator[Self]:
        """Release the lock if the block fails."""
        try:
            yield self
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock and remove its file; nothing happens if it was released before."""
        if self._released:
            return
        self._released = True
        # Windows removes no file that is open; there, the file is removed after it is closed.
        with suppress(OSError):
            self._path.unlink()
        self._connection.close()
        if os.name == "nt":
            with suppress(OSError):
                self._path.unlink()

    def _acquire(self) -> sqlite3.Connection:
        """Lock the file; again if the previous holder removed it before it was locked."""
        while True:
            self._path.touch()
            before = self._path.stat()
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = MEMORY")  # no file of a journal
                connection.execute("BEGIN EXCLUSIVE")
                if self._path.exists() and os.path.samestat(before, self._path.stat()):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
