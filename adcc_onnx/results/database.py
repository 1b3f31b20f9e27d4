"""The SQLite file behind a store: connections, transactions and errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from adcc_onnx.errors import StoreError
from adcc_onnx.results import schema
from adcc_onnx.results.schema import FORMAT_VERSION, SqlValue, with_checksum
from adcc_onnx.results.verification import require_intact
from adcc_onnx.results.writer_lock import WriterLock

_HEADER_BYTES, _READ_VERSION, _WAL = 100, 19, 2


class Database:
    """An open SQLite database with the tables of a store."""

    def __init__(
        self, connection: sqlite3.Connection, place: str, lock: WriterLock | None = None
    ) -> None:
        self._connection = connection
        self._place = place
        self._lock = lock

    def close(self) -> None:
        """Close the file, and leave no other file beside it."""
        if self._lock is not None:
            # Without a write-ahead log, the file can be read where nothing can be written.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def _connect(cls, path: Path | None, lock: WriterLock | None = None) -> Self:
        """Open a file for writing under a lock, or a database in memory if `path` is None."""
        place = str(path or ":memory:")
        try:
            connection = sqlite3.connect(place, isolation_level=None)
        except sqlite3.Error as error:
            raise StoreError(f"{place} cannot be opened for writing: {error}") from error
        database = cls(connection, place, lock)
        with database._closed_on_error(), database._translated_errors():
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            # In WAL mode, NORMAL survives a killed process without a sync per transaction.
            connection.execute("PRAGMA synchronous = NORMAL")
        return database

    @classmethod
    def _connect_read_only(cls, path: Path) -> Self:
        """Open a file for reading, also where neither it nor its folder can be written."""
        if not path.is_file():
            raise StoreError(f"{path} is not a regular file")
        try:
            real = path.resolve()
            with real.open("rb") as stream:
                header = stream.read(_HEADER_BYTES)
            log, journal = (_size(real, ending) for ending in ("-wal", "-journal"))
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
        if journal:
            _roll_back(real)
        # SQLite would create a log beside a file in WAL mode that has none.
        is_wal = header[_READ_VERSION : _READ_VERSION + 1] == bytes([_WAL])
        options = "mode=ro&immutable=1" if is_wal and not log else "mode=ro"
        uri = f"{real.as_uri()}?{options}"
        database = cls(sqlite3.connect(uri, uri=True, isolation_level=None), str(path))
        if log:
            database._require_log(real)
        return database

    def _require_log(self, real: Path) -> None:
        """Check that the log of an interrupted run can be read."""
        try:
            self._connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            self.close()
            raise StoreError(
                f"{self._place} was interrupted, and its last rows in {real.name}-wal can only be "
                f"read in a folder that can be written: copy {real.name}* there ({error})"
            ) from error
        except sqlite3.Error:
            pass  # The verification reports a damaged file.

    def _create_tables(self) -> None:
        """Create all tables of a new file in one transaction."""
        with self._translated_errors(), self._transaction():
            schema.create_tables(self._connection)

    def _has_tables(self) -> bool:
        """Return whether anything was ever created in the file."""
        with self._translated_errors():
            (schema_version,) = self._connection.execute("PRAGMA schema_version").fetchone()
        return bool(schema_version)

    def _verify(self) -> None:
        """Check version and checksums of a file that is open for reading.

        A file of an older format is replaced by its migrated copy in memory.

        Raises:
            StoreError: The file is not a store, of a newer format, or damaged.
        """
        with self._translated_errors():
            try:
                version = schema.require_readable(self._connection)
            except ValueError as error:
                raise StoreError(f"{self._place} {error}") from error
            if version < FORMAT_VERSION:
                copy = sqlite3.connect(":memory:", isolation_level=None)
                self._connection.backup(copy)
                self._connection.close()
                self._connection = copy
                self._migrate()
            try:
                require_intact(self._connection)
            except ValueError as error:
                raise self._damaged(str(error)) from error

    def _migrate(self) -> None:
        """Migrate an open database of an older format; one of this format stays as it is."""
        with self._translated_errors():
            if schema.require_readable(self._connection) == FORMAT_VERSION:
                return
            # Renaming a table must not change the references of other tables to it.
            self._connection.execute("PRAGMA foreign_keys = OFF")
            self._connection.execute("PRAGMA legacy_alter_table = ON")
            with self._transaction():
                schema.migrate(self._connection)
            self._connection.execute("PRAGMA foreign_keys = ON")

    def _insert(self, run: int, table: str, rows: Sequence[tuple[SqlValue, ...]]) -> None:
        """Insert rows of a run within the open transaction, with their checksums and total."""
        if not rows:
            return
        checked = [with_checksum(table, row) for row in rows]
        places = ",".join("?" * len(checked[0]))
        self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", checked)
        count, checksums = self._connection.execute(
            "SELECT rows, checksums FROM total WHERE run = ? AND counted = ?", (run, table)
        ).fetchone() or (0, 0)
        count += len(checked)
        checksums += sum(int(row[-1] or 0) for row in checked)
        total = with_checksum("total", (run, table, count, checksums))
        schema.insert(self._connection, "total", total)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite itself has rolled back after some errors.
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Close the file if it cannot be used after all."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise SQLite's errors as StoreError."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_NOTADB:
                raise StoreError(f"{self._place} is not a file of runs, or is damaged") from error
            if code == sqlite3.SQLITE_CORRUPT or "decode to UTF-8" in str(error):
                raise self._damaged(str(error)) from error
            raise StoreError(f"{self._place}: {error}; rows written before are intact") from error

    def _damaged(self, reason: str) -> StoreError:
        return StoreError(
            f"{self._place} is damaged ({reason}): restore it from a copy, or evaluate again"
        )


def _size(path: Path, ending: str) -> int:
    """Return the size in bytes of SQLite's file beside a database; 0 if there is none."""
    beside = path.with_name(f"{path.name}{ending}")
    return beside.stat().st_size if beside.exists() else 0


def _roll_back(path: Path) -> None:
    """Undo a transaction that a killed process left half written, if the file can be written."""
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.close()
