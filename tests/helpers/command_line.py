"""A run on the built-in classifier as a program of its own, which can be killed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from adcc_onnx.drawings import classifier_path
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store

# Some six seconds of work on one core, in eight batches.
METHODS = ("gradcam", "smoothgradcam++(n=3)", "random", "scorecam(passes=24)")


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "adcc_onnx", *map(str, words)]


def evaluation(images: int = 60) -> list[str]:
    """The words of a run of all `METHODS` on drawings."""
    methods = [word for method in METHODS for word in ("--method", method)]
    source = ("--images", f"drawings:{images}", "--device", "cpu")
    return ["evaluate", str(classifier_path()), *source, *methods]


def environment() -> dict[str, str]:
    """This process's, without the terminal's width and colors."""
    return {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}


def run_whole(*words: str | Path) -> None:
    """Run the program to its good end."""
    done = subprocess.run(command(*words), capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def report_of(path: Path) -> str:
    """The run's JSON; the file is sound, and its run complete."""
    connection = sqlite3.connect(path)
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
