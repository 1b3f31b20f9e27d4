"""A file of runs: one row per image, and one per image and method.

Rows are written in transactions as they arrive. A pair of image and method that is in the file is
finished and never computed again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adcc_onnx.errors import StoreError
from adcc_onnx.results.resume_checks import require_same_config
from adcc_onnx.results.rows import ImageRow, RunProgress, ScoreRow
from adcc_onnx.results.run_reader import CURVE_TYPE, MAP_TYPE, RunReader


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
        if path is not None and path.exists():
            raise StoreError(f"{path} exists: continue it with --resume, or choose another file")
        store = cls._connect(path)
        store._create_tables()
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open an existing file.

        Args:
            path: Name of the file.

        Returns:
            The store with its runs.

        Raises:
            StoreError: The file is missing, locked, corrupt, or not a file of runs.
        """
        if not path.is_file():
            raise StoreError(f"no such run: {path}")
        store = cls._connect(path)
        store._check_version()
        return store

    @classmethod
    def resume(cls, path: Path) -> Store:
        """Open an existing file, or create it if it does not exist yet.

        Args:
            path: Name of the file.

        Returns:
            The store.

        Raises:
            StoreError: The file cannot be opened or created, or is not a file of runs.
        """
        if not path.exists():
            return cls.create(path)
        with cls._connect(path) as store:
            if not store._has_tables():  # The process that created the file was killed.
                store._create_tables()
        return cls.open(path)

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
                insert = "INSERT INTO run (model, config) VALUES (?, ?)"
                row = (config["model"], json.dumps(config, sort_keys=True))
                return int(self._connection.execute(insert, row).lastrowid or 0)
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
        image_rows = [
            (run, i.position, i.name, i.label, i.target, i.predicted, i.probability, i.failure)
            for i in images
        ]
        score_rows = [
            (run, s.position, s.method, s.degenerate, s.failure, json.dumps(s.values), s.seconds,
             s.masked_probability)
            for s in scores
        ]  # fmt: skip
        thumbnails = [(run, i.position, i.thumbnail) for i in images if i.thumbnail is not None]
        heatmaps = [
            (run, s.position, s.method, *s.heatmap.shape, s.heatmap.astype(MAP_TYPE).tobytes())
            for s in scores
            if s.heatmap is not None
        ]
        curves = [
            (run, s.position, s.method, name, curve.astype(CURVE_TYPE).tobytes())
            for s in scores
            for name, curve in s.curves.items()
        ]
        with self._translated_errors(), self._transaction():
            self._connection.executemany("INSERT INTO image VALUES (?,?,?,?,?,?,?,?)", image_rows)
            self._connection.executemany("INSERT INTO score VALUES (?,?,?,?,?,?,?,?)", score_rows)
            self._connection.executemany("INSERT INTO curve VALUES (?,?,?,?,?)", curves)
            self._connection.executemany("INSERT INTO thumbnail VALUES (?,?,?)", thumbnails)
            self._connection.executemany("INSERT INTO heatmap VALUES (?,?,?,?,?,?)", heatmaps)

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
        with self._translated_errors():
            self._connection.execute("UPDATE run SET complete = 1 WHERE id = ?", (run,))
