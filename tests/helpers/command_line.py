"""Evaluations on the built-in classifier in a separate process, which tests can kill."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from adcc_onnx.drawings import classifier_path
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store

# About six seconds of work on one core for 60 images, in eight batches.
METHODS = ("gradcam", "smoothgradcam++(n=3)", "random", "scorecam(passes=24)")


def command(*words: str | Path) -> list[str]:
    """Return the command line of the program with some arguments."""
    return [sys.executable, "-m", "adcc_onnx", *map(str, words)]


def evaluation(images: int = 60) -> list[str]:
    """Return the arguments that evaluate all `METHODS` on drawings."""
    methods = [word for method in METHODS for word in ("--method", method)]
    source = ("--images", f"drawings:{images}", "--device", "cpu")
    return ["evaluate", str(classifier_path()), *source, *methods]


def environment() -> dict[str, str]:
    """Return this process's environment with a fixed terminal width and without colors."""
    return {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}


def run_whole(*words: str | Path) -> None:
    """Run the program, which must succeed."""
    done = subprocess.run(command(*words), capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def report_of(path: Path) -> str:
    """Return the JSON report of a store, which must be intact and complete."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    with Store.open(path) as store:
        assert all(run.complete for run in store.runs())
        return render([store], "json")


def images_in(path: Path) -> int:
    """Return the number of images in a store; 0 if it does not exist yet."""
    return count(path, "image")


def count(path: Path, table: str) -> int:
    """Count the rows of a table while another process writes to it."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.OperationalError:  # The tables do not exist yet.
        return 0
    finally:
        connection.close()
