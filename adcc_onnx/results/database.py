"""The SQLite file behind a store: connection, schema, transactions and errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from adcc_onnx.errors import StoreError

# The file header holds "ADCC" and the version of the tables below.
_APPLICATION_ID, _VERSION = 0x41444343, 2
_TABLES = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL UNIQUE, config TEXT NOT NULL,
    complete INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE image (
    run INTEGER NOT NULL REFERENCES run, position INTEGER NOT NULL, name TEXT NOT NULL,
    label INTEGER, target INTEGER, predicted INTEGER, probability REAL, failure TEXT,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE score (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL,
    degenerate INTEGER NOT NULL, failure TEXT, figures TEXT NOT NULL, seconds REAL NOT NULL,
    masked_probability REAL,
    PRIMARY KEY (run, position, method),
    FOREIGN KEY (run, position) REFERENCES image
) WITHOUT ROWID;
CREATE TABLE curve (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL, name TEXT NOT NULL,
    points BLOB NOT NULL,
    PRIMARY KEY (run, position, method, name),
    FOREIGN KEY (run, position, method) REFERENCES score
) WITHOUT ROWID;
CREATE TABLE thumbnail (
    run INTEGER NOT NULL, position INTEGER NOT NULL, jpeg BLOB NOT NULL,
    PRIMARY KEY (run, position),
    FOREIGN KEY (run, position) REFERENCES image
);
CREATE TABLE heatmap (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL,
    height INTEGER NOT NULL, width INTEGER NOT NULL, points BLOB NOT NULL,
    PRIMARY KEY (run, position, method),
    FOREIGN KEY (run, position, method) REFERENCES score
) WITHOUT ROWID;
"""


class Database:
    """An open SQLite database with the tables of a store."""

    def __init__(self, connection: sqlite3.Connection, place: str) -> None:
        self._connection = connection
        self._place = place

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

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
    def _connect(cls, path: Path | None) -> Self:
        """Open a file, or a database in memory if `path` is None."""
        place = str(path or ":memory:")
        try:
            connection = sqlite3.connect(place, isolation_level=None)
        except sqlite3.Error as error:
            raise StoreError(f"{place} cannot be opened: {error}") from error
        database = cls(connection, place)
        with database._translated_errors():
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            # In WAL mode, NORMAL survives a killed process without a sync per transaction.
            connection.execute("PRAGMA synchronous = NORMAL")
        return database

    def _create_tables(self) -> None:
        """Create all tables of a new file in one transaction."""
        marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION};"
        with self._translated_errors():
            self._connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {marks} COMMIT;")

    def _has_tables(self) -> bool:
        """Return whether anything was ever created in the file."""
        with self._translated_errors():
            (schema,) = self._connection.execute("PRAGMA schema_version").fetchone()
        return bool(schema)

    def _check_version(self) -> None:
        """Raise StoreError unless the file is a store of this version."""
        with self._translated_errors():
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise StoreError(
                f"{self._place} is not a file of runs (adcc-onnx evaluate -o creates them)"
            )
        if version != _VERSION:
            raise StoreError(f"{self._place} was written by another version of adcc-onnx")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise SQLite's errors as StoreError."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._place}: {error}; rows written before are intact") from error
