"""The tables of a file of runs, their checksums, and the migration of older formats.

docs/reference/run-format.md documents the format.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence

# "ADCC" in the header of the file, and the version of the format beside it.
APPLICATION_ID, FORMAT_VERSION = 0x41444343, 3
# The first version of adcc-onnx that reads this format. An older version asks for it in an error.
_READABLE_SINCE = "0.1.0"
_OLDEST_VERSION = 2
_SCORE_COLUMNS = 9  # without the checksum

# Statements as SQLite stores them: a file whose schema differs in any character is damaged.
TABLES = (
    """CREATE TABLE format (
    version INTEGER NOT NULL, readable_since TEXT NOT NULL, checksum INTEGER NOT NULL
)""",
    """CREATE TABLE run (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL UNIQUE, config TEXT NOT NULL,
    complete INTEGER NOT NULL, checksum INTEGER NOT NULL
)""",
    """CREATE TABLE image (
    run INTEGER NOT NULL REFERENCES run, position INTEGER NOT NULL, name TEXT NOT NULL,
    label INTEGER, target INTEGER, predicted INTEGER, probability REAL, failure TEXT,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (run, position)
) WITHOUT ROWID""",
    """CREATE TABLE score (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL,
    degenerate INTEGER NOT NULL, failure TEXT, metric_values TEXT NOT NULL, seconds REAL NOT NULL,
    masked_probability REAL, passes INTEGER, checksum INTEGER NOT NULL,
    PRIMARY KEY (run, position, method),
    FOREIGN KEY (run, position) REFERENCES image
) WITHOUT ROWID""",
    """CREATE TABLE curve (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL, name TEXT NOT NULL,
    points BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (run, position, method, name),
    FOREIGN KEY (run, position, method) REFERENCES score
) WITHOUT ROWID""",
    """CREATE TABLE thumbnail (
    run INTEGER NOT NULL, position INTEGER NOT NULL, jpeg BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (run, position),
    FOREIGN KEY (run, position) REFERENCES image
) WITHOUT ROWID""",
    """CREATE TABLE heatmap (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL,
    height INTEGER NOT NULL, width INTEGER NOT NULL, points BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (run, position, method),
    FOREIGN KEY (run, position, method) REFERENCES score
) WITHOUT ROWID""",
    """CREATE TABLE total (
    run INTEGER NOT NULL REFERENCES run, counted TEXT NOT NULL, rows INTEGER NOT NULL,
    checksums INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (run, counted)
) WITHOUT ROWID""",
)
# The tables whose rows `total` counts; the first column of each is the run.
COUNTED = ("image", "score", "curve", "thumbnail", "heatmap")

SqlValue = int | float | str | bytes | None

_encode = json.JSONEncoder(separators=(",", ":"), default=bytes.hex).encode


def row_checksum(table: str, row: Sequence[SqlValue]) -> int:
    """Compute the checksum of a row.

    Args:
        table: Name of the table.
        row: Values of all columns but the checksum, as SQLite returns them.

    Returns:
        CRC-32 of the JSON array of the table's name and the values. BLOBs are hexadecimal text.

    Example:
        >>> row_checksum("curve", (1, 0, "gradcam", "deletion", bytes(4)))
        1787351137
    """
    return zlib.crc32(_encode((table, *row)).encode())


def with_checksum(table: str, row: Sequence[SqlValue]) -> tuple[SqlValue, ...]:
    """Return a row of a table with its checksum as the last value.

    Args:
        table: Name of the table.
        row: Values of all columns but the checksum.
    """
    return (*row, row_checksum(table, row))


def create_tables(connection: sqlite3.Connection) -> None:
    """Create all tables within the open transaction.

    Args:
        connection: A database without tables.
    """
    for statement in TABLES:
        connection.execute(statement)
    row = with_checksum("format", (FORMAT_VERSION, _READABLE_SINCE))
    connection.execute("INSERT INTO format VALUES (?, ?, ?)", row)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def require_readable(connection: sqlite3.Connection) -> int:
    """Check the version of the format.

    Args:
        connection: The database.

    Returns:
        The version: `FORMAT_VERSION`, or an older one that `migrate` accepts.

    Raises:
        ValueError: The file is of another program, or of a version that cannot be read; the
            message says what to do.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise ValueError("is not a file of runs (adcc-onnx evaluate -o creates them)")
    if version < _OLDEST_VERSION:
        raise ValueError(
            f"has format {version} of an early version of adcc-onnx, which is no longer read: "
            "evaluate again"
        )
    if version > FORMAT_VERSION:
        row = connection.execute("SELECT readable_since FROM format").fetchone()
        since = row[0] if row else ""
        raise ValueError(
            f"has format {version}, but this version of adcc-onnx reads formats up to "
            f'{FORMAT_VERSION}: pip install "adcc-onnx>={str(since)[:20]}"'
        )
    return int(version)


def migrate(connection: sqlite3.Connection) -> None:
    """Convert a database of format 2 within the open transaction; it had no checksums or pictures.

    Args:
        connection: The database.
    """
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    old = [table for table in ("run", *COUNTED) if table in names]
    for table in old:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    create_tables(connection)
    for table in old:
        for row in connection.execute(f"SELECT * FROM old_{table}"):
            # Files of format 2 did not hold the last columns, masked_probability and passes.
            missing = _SCORE_COLUMNS - len(row) if table == "score" else 0
            whole = (*row, *[None] * missing)
            insert(connection, table, with_checksum(table, whole))
    for table in reversed(old):
        connection.execute(f"DROP TABLE old_{table}")
    for table in COUNTED:
        query = f"SELECT run, count(*), sum(checksum) FROM {table} GROUP BY run"
        for run, rows, checksums in connection.execute(query):
            insert(connection, "total", with_checksum("total", (run, table, rows, checksums)))


def insert(connection: sqlite3.Connection, table: str, row: Sequence[SqlValue]) -> int:
    """Insert a row, or replace the row of the same key.

    Args:
        connection: The database.
        table: Name of the table.
        row: Values of all columns, the checksum included.

    Returns:
        The row's number.
    """
    places = ",".join("?" * len(row))
    cursor = connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)
    return int(cursor.lastrowid or 0)
