"""Runs on disk: one SQLite file, one row an image and one an image and method.

Rows are written in transactions as they come; a pair of image and method that is in the file is
finished, and never computed again.
"""

from __future__ import annotations

import json
import math
import sqlite3
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import StoreError

# "ADCC" in the file's header, and the version of the tables below.
_APPLICATION, _VERSION = 0x41444343, 2
# What may differ when a run is continued: it says where numbers were made, not which.
MAY_CHANGE = ("batch_size", "device", "tf32", "versions")
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
    PRIMARY KEY (run, position, method),
    FOREIGN KEY (run, position) REFERENCES image
) WITHOUT ROWID;
CREATE TABLE curve (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL, name TEXT NOT NULL,
    points BLOB NOT NULL,
    PRIMARY KEY (run, position, method, name),
    FOREIGN KEY (run, position, method) REFERENCES score
) WITHOUT ROWID;
"""
_CURVE_TYPE = np.dtype("<f4")


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
    """One image under one method: the value of each metric, or why there is none.

    `seconds` is the image's share of the time that its batch took; `curves` are what metrics kept.
    """

    position: int
    method: str
    degenerate: bool
    failure: str | None
    values: dict[str, float]
    seconds: float = 0.0
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """The images that one method did not fail on, in their order.

    Attributes:
        positions: [n].
        values: by metric, [n]; NaN where an image has none.
        degenerate: [n], whether the map was constant.
        seconds: the time each image took, [n].
    """

    positions: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    degenerate: NDArray[np.bool_]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class FailedRow:
    """An image that failed, or (with its name) a method that failed on it."""

    image: str
    method: str | None
    reason: str


@dataclass(frozen=True)
class StoredRun:
    """A run as it was kept.

    Attributes:
        number: of the run in its store.
        config: everything that changes a number.
        complete: whether it came to its end.
        images: how many were taken up, failed ones included.
        failed: images that could not be read or scored at all.
        top1: the share of labeled images whose predicted class is the label; None without labels.
        failures: every failure, images first, in the order of the images.
        methods: the values of each method, by name.
    """

    number: int
    config: dict[str, Any]
    complete: bool
    images: int
    failed: int
    top1: float | None
    failures: list[FailedRow]
    methods: dict[str, Columns]


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        finished: positions of images with nothing left to do.
        partial: the methods that are finished, of images with something left to do.
    """

    finished: set[int]
    partial: dict[int, frozenset[str]]


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
        store._make()
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
        if not path.exists():
            return cls.create(path)
        with cls._connect(path) as store, store._errors():
            (schema,) = store._connection.execute("PRAGMA schema_version").fetchone()
            if schema == 0:  # its making was cut off
                store._make()
        return cls.open(path)

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
            # In WAL mode this survives a killed process, and needs no sync a transaction.
            connection.execute("PRAGMA synchronous = NORMAL")
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
        refuse_differences(self._place, json.loads(found[1]), json.loads(json.dumps(config)))
        return int(found[0])

    def write(
        self, run: int, images: Sequence[ImageRow] = (), scores: Sequence[ScoreRow] = ()
    ) -> None:
        """Keep rows, all of them or none. An image's row comes before, or with, its scores."""
        image_rows = [(run, *vars(row).values()) for row in images]
        score_rows = [
            (run, s.position, s.method, s.degenerate, s.failure, json.dumps(s.values), s.seconds)
            for s in scores
        ]
        curves = [
            (run, s.position, s.method, name, curve.astype(_CURVE_TYPE).tobytes())
            for s in scores
            for name, curve in s.curves.items()
        ]
        with self._errors(), self._transaction():
            self._connection.executemany("INSERT INTO image VALUES (?,?,?,?,?,?,?,?)", image_rows)
            self._connection.executemany("INSERT INTO score VALUES (?,?,?,?,?,?,?)", score_rows)
            self._connection.executemany("INSERT INTO curve VALUES (?,?,?,?,?)", curves)

    def progress(self, run: int, methods: Sequence[str]) -> Progress:
        """How far a run of these methods has come."""
        pairs = "SELECT position, failure, (SELECT group_concat(method, char(10)) FROM score "
        pairs += "WHERE score.run = image.run AND score.position = image.position) "
        with self._errors():
            rows = self._connection.execute(f"{pairs} FROM image WHERE run = ?", (run,))
            finished: set[int] = set()
            partial: dict[int, frozenset[str]] = {}
            for position, failure, found in rows:
                done = frozenset((found or "").split("\n")) - {""}
                if failure is not None or done >= set(methods):
                    finished.add(position)
                else:
                    partial[position] = done
        return Progress(finished, partial)

    def finish(self, run: int) -> None:
        """Mark a run as complete."""
        with self._errors():
            self._connection.execute("UPDATE run SET complete = 1 WHERE id = ?", (run,))

    def runs(self) -> list[StoredRun]:
        """All runs, in the order they were begun."""
        with self._errors():
            numbers = self._connection.execute("SELECT id FROM run ORDER BY id").fetchall()
        return [self.run(number) for (number,) in numbers]

    def run(self, number: int) -> StoredRun:
        """One run by its number."""
        one = self._connection.execute
        with self._errors():
            config, complete = one(
                "SELECT config, complete FROM run WHERE id = ?", (number,)
            ).fetchone()
            images, failed, top1 = one(
                "SELECT count(*), count(failure), avg(predicted = label) FROM image WHERE run = ?",
                (number,),
            ).fetchone()
            settings = json.loads(config)
            methods = {name: self._columns(number, name) for name in settings["methods"]}
            failures = self._failures(number)
        return StoredRun(number, settings, bool(complete), images, failed, top1, failures, methods)

    def image_names(self, run: int) -> dict[int, str]:
        """The names of a run's images by their positions."""
        with self._errors():
            rows = self._connection.execute(
                "SELECT position, name FROM image WHERE run = ?", (run,)
            ).fetchall()
        return dict(rows)

    def configs(self) -> dict[str, tuple[int, dict[str, Any], bool]]:
        """(number, config, complete) of each run, by the model's name, in the order begun."""
        with self._errors():
            rows = self._connection.execute(
                "SELECT model, id, config, complete FROM run ORDER BY id"
            )
            return {model: (n, json.loads(config), bool(c)) for model, n, config, c in rows}

    def rows(self, run: int) -> Iterator[tuple[ImageRow, list[ScoreRow]]]:
        """Every image with its scores, in the order of the images."""
        with self._errors():
            positions = self._connection.execute(
                "SELECT position FROM image WHERE run = ? ORDER BY position", (run,)
            )
            for (position,) in positions:
                yield self.row(run, position)

    def row(self, run: int, position: int) -> tuple[ImageRow, list[ScoreRow]]:
        """One image with its scores."""
        at = (run, position)
        with self._errors():
            image = self._connection.execute(
                "SELECT position, name, label, target, predicted, probability, failure "
                "FROM image WHERE run = ? AND position = ?",
                at,
            ).fetchone()
            scores = self._connection.execute(
                "SELECT method, degenerate, failure, figures, seconds FROM score "
                "WHERE run = ? AND position = ? ORDER BY method",
                at,
            ).fetchall()
            return ImageRow(*image), [
                ScoreRow(
                    position, m, bool(d), f, json.loads(v), taken, self._curves(run, position, m)
                )
                for m, d, f, v, taken in scores
            ]

    def mean_curves(self, run: int, method: str) -> dict[str, NDArray[np.float64]]:
        """The mean over the images of every curve that the metrics kept for a method."""
        sums: dict[str, tuple[int, NDArray[np.float64]]] = {}
        with self._errors():
            rows = self._connection.execute(
                "SELECT name, points FROM curve WHERE run = ? AND method = ? ORDER BY position",
                (run, method),
            )
            for name, points in rows:
                curve = _curve(points)
                count, total = sums.get(name, (0, np.zeros_like(curve)))
                sums[name] = count + 1, total + curve
        return {name: total / count for name, (count, total) in sums.items()}

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

    def _curves(self, run: int, position: int, method: str) -> dict[str, NDArray[np.float64]]:
        rows = self._connection.execute(
            "SELECT name, points FROM curve WHERE run = ? AND position = ? AND method = ?",
            (run, position, method),
        )
        return {name: _curve(points) for name, points in rows}

    def _make(self) -> None:
        """The tables of a new file, all of them or none."""
        marks = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"
        with self._errors():
            self._connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {marks} COMMIT;")

    def _columns(self, run: int, method: str) -> Columns:
        positions, degenerate, seconds = array("q"), array("b"), array("d")
        values: dict[str, array[float]] = {}
        rows = self._connection.execute(
            "SELECT position, degenerate, seconds, figures FROM score "
            "WHERE run = ? AND method = ? AND failure IS NULL ORDER BY position",
            (run, method),
        )
        for position, constant, taken, scores in rows:
            for name, value in json.loads(scores).items():
                column = values.setdefault(name, array("d"))
                column.extend([math.nan] * (len(positions) - len(column)))
                column.append(value)
            positions.append(position)
            degenerate.append(constant)
            seconds.append(taken)
        for column in values.values():
            column.extend([math.nan] * (len(positions) - len(column)))
        return Columns(
            np.array(positions),
            {name: np.array(column) for name, column in values.items()},
            np.array(degenerate, bool),
            np.array(seconds),
        )

    def _failures(self, run: int) -> list[FailedRow]:
        images = self._connection.execute(
            "SELECT name, NULL, failure FROM image WHERE run = ? AND failure IS NOT NULL "
            "ORDER BY position",
            (run,),
        )
        scores = self._connection.execute(
            "SELECT image.name, score.method, score.failure FROM score JOIN image "
            "USING (run, position) WHERE run = ? AND score.failure IS NOT NULL "
            "ORDER BY position, method",
            (run,),
        )
        return [FailedRow(*row) for row in [*images, *scores]]

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


def _curve(points: bytes) -> NDArray[np.float64]:
    return np.frombuffer(points, _CURVE_TYPE).astype(np.float64)


def refuse_differences(
    place: str,
    stored: Mapping[str, Any],
    asked: Mapping[str, Any],
    may_change: Collection[str] = MAY_CHANGE,
) -> None:
    """Raise StoreError with the differences of two runs' records, but for what may differ."""
    keys = sorted((stored.keys() | asked.keys()) - set(may_change))
    different = [key for key in keys if stored.get(key) != asked.get(key)]
    if different:
        shown = "; ".join(f"{k}: {stored.get(k)!r} -> {asked.get(k)!r}" for k in different[:3])
        raise StoreError(f"{place} holds a run made differently ({shown})")
