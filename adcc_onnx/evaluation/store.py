"""Runs on disk: one SQLite file, one row an image and one an image and method.

Rows are written in a transaction a batch, so that what is in the file is always whole batches.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from adcc_onnx.errors import StoreError

# "ADCC" in the file's header, and the version of the tables below.
_APPLICATION, _VERSION = 0x41444343, 1
# What may differ when a run is continued: it says where numbers were made, not which.
MAY_CHANGE = ("batch_size", "device", "versions")
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
    degenerate INTEGER NOT NULL, failure TEXT, figures TEXT NOT NULL,
    PRIMARY KEY (run, position, method),
    FOREIGN KEY (run, position) REFERENCES image
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class ImageRow:
    """One image of a run; `failure` says why it has no scores."""

    position: int
    name: str
    label: int | None
    target: int | None
    predicted: int | None
    probability: float | None
    failure: str | None


@dataclass(frozen=True)
class ScoreRow:
    """One image under one method: the value of each metric, or why there is none."""

    position: int
    method: str
    degenerate: bool
    failure: str | None
    values: dict[str, float]


@dataclass(frozen=True)
class StoredRun:
    """A run as it was kept; images and scores in the order of the images."""

    config: dict[str, Any]
    complete: bool
    images: list[ImageRow]
    scores: list[ScoreRow]


class Store:
    """A file of runs, one a model; use `create`, `open` or `resume`."""

    def __init__(self, connection: sqlite3.Connection, place: str) -> None:
        self._connection = connection
        self._place = place

    @classmethod
    def create(cls, path: Path | None) -> Store:
        """A new file, or nothing on disk if `path` is None.

        Raises:
            StoreError: the file exists, or cannot be made.
        """
        if path is not None and path.exists():
            raise StoreError(f"{path} exists: continue it with --resume, or choose another file")
        store = cls._connect(path)
        with store._errors():
            store._connection.executescript(_TABLES)
            store._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            store._connection.execute(f"PRAGMA user_version = {_VERSION}")
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """An existing file.

        Raises:
            StoreError: it is missing, locked, corrupt, or no file of runs.
        """
        if not path.is_file():
            raise StoreError(f"no such run: {path}")
        store = cls._connect(path)
        with store._errors():
            (application,) = store._connection.execute("PRAGMA application_id").fetchone()
            (version,) = store._connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION:
            raise StoreError(f"{path} is no file of runs (adcc-onnx evaluate -o makes them)")
        if version != _VERSION:
            raise StoreError(f"{path} was written by another version of adcc-onnx")
        return store

    @classmethod
    def resume(cls, path: Path) -> Store:
        """An existing file, or a new one where there is none yet."""
        return cls.open(path) if path.exists() else cls.create(path)

    @classmethod
    def _connect(cls, path: Path | None) -> Store:
        place = str(path or ":memory:")
        try:
            connection = sqlite3.connect(place, isolation_level=None)
        except sqlite3.Error as error:
            raise StoreError(f"{place} cannot be opened: {error}") from error
        store = cls(connection, place)
        with store._errors():
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
        return store

    def begin(self, config: Mapping[str, Any]) -> int:
        """Begin the run of a model, or continue it.

        Returns:
            The run's number.

        Raises:
            StoreError: the stored run was made differently; the differences are named.
        """
        with self._errors():
            found = self._connection.execute(
                "SELECT id, config FROM run WHERE model = ?", (config["model"],)
            ).fetchone()
            if found is None:
                insert = "INSERT INTO run (model, config) VALUES (?, ?)"
                row = (config["model"], json.dumps(config, sort_keys=True))
                return int(self._connection.execute(insert, row).lastrowid or 0)
        _refuse_differences(self._place, json.loads(found[1]), json.loads(json.dumps(config)))
        return int(found[0])

    def write(self, run: int, images: Sequence[ImageRow], scores: Sequence[ScoreRow]) -> None:
        """Keep the rows of one batch, all of them or none."""
        image_rows = [(run, *vars(row).values()) for row in images]
        score_rows = [
            (run, s.position, s.method, s.degenerate, s.failure, json.dumps(s.values))
            for s in scores
        ]
        with self._errors(), self._transaction():
            self._connection.executemany("INSERT INTO image VALUES (?,?,?,?,?,?,?,?)", image_rows)
            self._connection.executemany("INSERT INTO score VALUES (?,?,?,?,?,?)", score_rows)

    def finished_images(self, run: int) -> set[int]:
        """The positions of the images that are kept."""
        with self._errors():
            rows = self._connection.execute("SELECT position FROM image WHERE run = ?", (run,))
            return {position for (position,) in rows}

    def finish(self, run: int) -> None:
        """Mark a run as complete."""
        with self._errors():
            self._connection.execute("UPDATE run SET complete = 1 WHERE id = ?", (run,))

    def runs(self) -> list[StoredRun]:
        """All runs, in the order they were begun."""
        with self._errors():
            rows = self._connection.execute("SELECT id, config, complete FROM run ORDER BY id")
            return [self._read(*row) for row in rows.fetchall()]

    def run(self, number: int) -> StoredRun:
        """One run by its number."""
        with self._errors():
            row = self._connection.execute(
                "SELECT id, config, complete FROM run WHERE id = ?", (number,)
            ).fetchone()
            return self._read(*row)

    def close(self) -> None:
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

    def _read(self, number: int, config: str, complete: int) -> StoredRun:
        images = self._connection.execute(
            "SELECT position, name, label, target, predicted, probability, failure "
            "FROM image WHERE run = ? ORDER BY position",
            (number,),
        )
        scores = self._connection.execute(
            "SELECT position, method, degenerate, failure, figures "
            "FROM score WHERE run = ? ORDER BY position",
            (number,),
        )
        return StoredRun(
            json.loads(config),
            bool(complete),
            [ImageRow(*row) for row in images],
            [ScoreRow(p, m, bool(d), f, json.loads(values)) for p, m, d, f, values in scores],
        )

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
    def _errors(self) -> Iterator[None]:
        """SQLite's errors in our words."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._place}: {error}; rows written before are intact") from error


def _refuse_differences(place: str, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    keys = sorted((stored.keys() | asked.keys()) - set(MAY_CHANGE))
    different = [key for key in keys if stored.get(key) != asked.get(key)]
    if different:
        shown = "; ".join(f"{k}: {stored.get(k)!r} -> {asked.get(k)!r}" for k in different[:3])
        raise StoreError(f"{place} holds a run made differently ({shown})")
