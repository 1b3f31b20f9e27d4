"""A run on the built-in classifier as a program of its own, which can be killed."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

from adcc_onnx.drawings import classifier_path
from adcc_onnx.evaluation.store import Store
from adcc_onnx.report import render

PROGRAM = Path(__file__).parents[2] / "cli.py"


def command(*words: str | Path) -> list[str]:
    return [sys.executable, str(PROGRAM), *map(str, words)]


# About six seconds of work on one core, in eight batches.
METHODS = ("gradcam", "smoothgradcam++(n=3)", "random", "scorecam(passes=24)")
BEGIN = command(
    *("evaluate", classifier_path(), "--images", "drawings:60", "--device", "cpu"),
    *(word for method in METHODS for word in ("--method", method)),
)


def environment() -> dict[str, str]:
    """This process's, without the terminal's width and colours."""
    return {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}


def report_of(path: Path) -> str:
    """The run's JSON; the file is sound, and its run complete."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    with Store.open(path) as store:
        assert all(run.complete for run in store.runs())
        return render([store], "json")


def images_in(path: Path) -> int:
    """How many images a run has in its file; 0 where there is none yet."""
    return count(path, "image")


def count(path: Path, table: str) -> int:
    """The rows of a table, read beside the run that writes it."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are not made yet
        return 0
    finally:
        connection.close()
