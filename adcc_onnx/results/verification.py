"""Verification of a file of runs: a changed byte is an error, never another score."""

from __future__ import annotations

import sqlite3
from collections import Counter

from adcc_onnx.results.schema import COUNTED, FORMAT_VERSION, TABLES, row_checksum

# (run, table) -> number of rows, or sum of their checksums.
_Totals = Counter[tuple[int, str]]


def require_intact(connection: sqlite3.Connection) -> None:
    """Check the schema, the checksum of every row, and that no row is missing or duplicated.

    Args:
        connection: A database of the current format.

    Raises:
        ValueError: Something was changed; the message says what.
        sqlite3.Error: The file cannot be read as a database.
    """
    _require_schema(connection)
    # Rows are found by scanning, so only the table with an index of its own needs this check.
    (said,) = connection.execute("PRAGMA integrity_check(run)").fetchone()
    if said != "ok":
        raise ValueError(said.splitlines()[0][:100])
    rows: _Totals = Counter()
    checksums: _Totals = Counter()
    for table in COUNTED:
        _scan(connection, table, rows, checksums)
    formats = [row[0] for row in _checked_rows(connection, "format")]
    if formats != [FORMAT_VERSION]:
        raise ValueError("the table 'format' does not fit the file's header")
    runs = {row[0] for row in _checked_rows(connection, "run")}
    totals = {(run, table): counts for run, table, *counts in _checked_rows(connection, "total")}
    if totals != {key: [rows[key], checksums[key]] for key in rows}:
        raise ValueError("rows are missing")
    if not {run for run, _ in totals} <= runs:
        raise ValueError("a run is missing")


def _require_schema(connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if sorted(sql for (sql,) in found) != sorted(TABLES):
        raise ValueError(f"its tables are not those of format {FORMAT_VERSION}")


def _checked_rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    """Return the rows of a small table without their checksums."""
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    for row in rows:
        if row_checksum(table, row[:-1]) != row[-1]:
            raise ValueError(f"the checksum of a row of the table '{table}' is wrong")
    return [row[:-1] for row in rows]


def _scan(connection: sqlite3.Connection, table: str, rows: _Totals, checksums: _Totals) -> None:
    """Check the rows of a table, and add their numbers and checksums by run."""
    for row in connection.execute(f"SELECT * FROM {table}"):
        checksum = row[-1]
        if row_checksum(table, row[:-1]) != checksum:
            raise ValueError(
                f"the checksum of the row of image {row[1]!r} in the table '{table}' is wrong"
            )
        key = row[0], table
        rows[key] += 1
        checksums[key] += checksum
