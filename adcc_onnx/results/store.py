"""A file of runs: one row per image, and one per image and method.

Rows are written in transactions as they arrive. A pair of image and method that is in the file is
finished and never computed again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adcc_onnx.errors import StoreError
from adcc_onnx.results.resume_checks import require_same_config
from adcc_onnx.results.rows import ImageRow, RunProgress, ScoreRow
from adcc_onnx.results.run_reader import CURVE_TYPE, MAP_TYPE, RunReader
from adcc_onnx.results.schema import SqlValue, insert, row_checksum, with_checksum
from adcc_onnx.results.writer_lock import WriterLock


class Store(RunReader):
    """A file of runs, one per model; use `create`, `open` or `resume`."""

    @classmethod
    def create(cls, path: Path | None) -> Store:
        """Create a new file.

        Args:
            path: Name of the file; None keeps the runs in memory only.

        Returns:
            The empty store.

        Raises:
            StoreError: The file exists, or it cannot be created.
        """
        if path is None:
            store = cls._connect(None)
            store._create_tables()
            return store
        with WriterLock(path.resolve()).released_on_error() as lock:
            if path.exists():
                raise StoreError(
                    f"{path} exists: continue it with --resume, or choose another file"
                )
            store = cls._connect(path, lock)
            with store._closed_on_error():
                store._create_tables()
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open an existing file for reading; neither it nor its folder is changed.

        Args:
            path: Name of the file.

        Returns:
            The store with its runs.

        Raises:
            StoreError: The file is missing, damaged, not a file of runs, or of a newer format.
        """
        if not path.exists():
            raise StoreError(f"no such run: {path}")
        store = cls._connect_read_only(path)
        with store._closed_on_error():
            store._verify()
        return store

    @classmethod
    def resume(cls, path: Path) -> Store:
        """Open an existing file for writing, or create it if it does not exist yet.

        A file of an older format is migrated.

        Args:
            path: Name of the file.

        Returns:
            The store.

        Raises:
            StoreError: The file cannot be opened or created, is being written by another process,
                is damaged, is not a file of runs, or has a newer format.
        """
        if not path.exists():
            return cls.create(path)
        with WriterLock(path.resolve()).released_on_error() as lock:
            # A damaged file stays as it is.
            with cls._connect_read_only(path) as reader:
                has_tables = reader._has_tables()
                if has_tables:
                    reader._verify()
            store = cls._connect(path, lock)
            with store._closed_on_error():
                if has_tables:
                    store._migrate()
                else:  # The process that created the file was killed.
                    store._create_tables()
        return store

    def begin(self, config: Mapping[str, Any]) -> int:
        """Begin the run of a model, or continue it.

        Args:
            config: Record of everything that changes a number; `config["model"]` names the model.

        Returns:
            Number of the run in this store.

        Raises:
            StoreError: The stored run was made differently; the message names the differences.
        """
        with self._translated_errors():
            found = self._connection.execute(
                "SELECT id, config FROM run WHERE model = ?", (config["model"],)
            ).fetchone()
            if found is None:
                with self._transaction():
                    (number,) = self._connection.execute(
                        "SELECT coalesce(max(id), 0) + 1 FROM run"
                    ).fetchone()
                    row = (number, config["model"], json.dumps(config, sort_keys=True), 0)
                    return insert(self._connection, "run", with_checksum("run", row))
        require_same_config(self._place, json.loads(found[1]), json.loads(json.dumps(config)))
        return int(found[0])

    def write(
        self, run: int, images: Sequence[ImageRow] = (), scores: Sequence[ScoreRow] = ()
    ) -> None:
        """Write rows in one transaction.

        Args:
            run: Number of the run.
            images: Rows of images; an image's row must precede or accompany its scores.
            scores: Rows of scores.

        Raises:
            StoreError: Nothing was written: the disk is full, the file locked, or a row exists.
        """
        with self._translated_errors(), self._transaction():
            self._insert(run, "image", [_image_row(run, image) for image in images])
            self._insert(run, "score", [_score_row(run, score) for score in scores])
            curves = [row for score in scores for row in _curve_rows(run, score)]
            self._insert(run, "curve", curves)
            self._insert(run, "thumbnail", _thumbnail_rows(run, images))
            self._insert(run, "heatmap", _heatmap_rows(run, scores))

    def progress(self, run: int, methods: Sequence[str]) -> RunProgress:
        """Return which images and methods of a run are finished.

        Args:
            run: Number of the run.
            methods: Names of all methods of the run.

        Returns:
            The finished images, and the finished methods of the others.
        """
        query = (
            "SELECT position, failure, (SELECT group_concat(method, char(10)) FROM score "
            "WHERE score.run = image.run AND score.position = image.position) "
            "FROM image WHERE run = ?"
        )
        finished: set[int] = set()
        partial: dict[int, frozenset[str]] = {}
        with self._translated_errors():
            for position, failure, found in self._connection.execute(query, (run,)):
                done = frozenset((found or "").split("\n")) - {""}
                if failure is not None or done >= set(methods):
                    finished.add(position)
                else:
                    partial[position] = done
        return RunProgress(finished, partial)

    def finish(self, run: int) -> None:
        """Mark a run as complete."""
        with self._translated_errors(), self._transaction():
            number, model, config, _ = self._run_row(run)
            self._update_run((number, model, config, 1))

    def keep_warnings(self, run: int, warnings: Sequence[str]) -> None:
        """Keep why the results of a run are probably meaningless, instead of earlier warnings.

        Args:
            run: Number of the run.
            warnings: The warnings.
        """
        with self._translated_errors(), self._transaction():
            number, model, text, complete = self._run_row(run)
            config = {**json.loads(text), "warnings": list(warnings)}
            if not warnings:
                del config["warnings"]
            self._update_run((number, model, json.dumps(config, sort_keys=True), complete))

    def _run_row(self, run: int) -> tuple[int, str, str, int]:
        query = "SELECT id, model, config, complete FROM run WHERE id = ?"
        row: tuple[int, str, str, int] = self._connection.execute(query, (run,)).fetchone()
        return row

    def _update_run(self, row: tuple[int, str, str, int]) -> None:
        self._connection.execute(
            "UPDATE run SET config = ?, complete = ?, checksum = ? WHERE id = ?",
            (row[2], row[3], row_checksum("run", row), row[0]),
        )


# Values are converted to the types of their columns, because checksums are those of stored values.


def _image_row(run: int, image: ImageRow) -> tuple[SqlValue, ...]:
    return (
        run,
        image.position,
        image.name,
        image.label,
        image.target,
        image.predicted,
        _real(image.probability),
        image.failure,
    )


def _score_row(run: int, score: ScoreRow) -> tuple[SqlValue, ...]:
    return (
        run,
        score.position,
        score.method,
        int(score.degenerate),
        score.failure,
        json.dumps(score.values),
        float(score.seconds),
        _real(score.masked_probability),
        score.passes,
    )


def _curve_rows(run: int, score: ScoreRow) -> list[tuple[SqlValue, ...]]:
    return [
        (run, score.position, score.method, name, curve.astype(CURVE_TYPE).tobytes())
        for name, curve in score.curves.items()
    ]


def _thumbnail_rows(run: int, images: Sequence[ImageRow]) -> list[tuple[SqlValue, ...]]:
    kept = [image for image in images if image.thumbnail is not None]
    return [(run, image.position, image.thumbnail) for image in kept]


def _heatmap_rows(run: int, scores: Sequence[ScoreRow]) -> list[tuple[SqlValue, ...]]:
    return [
        (run, s.position, s.method, *s.heatmap.shape, s.heatmap.astype(MAP_TYPE).tobytes())
        for s in scores
        if s.heatmap is not None
    ]


def _real(value: float | None) -> float | None:
    """Convert a number to what SQLite returns: it stores NaN as NULL."""
    return None if value is None or math.isnan(value) else float(value)
