"""Ctrl-C: the run ends at a whole pair of image and method, and says how to go on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import InterruptedRunError
from adcc_onnx.evaluation.interruption import interruptible
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.results.store import Store


def test_a_stopped_run_keeps_what_is_finished() -> None:
    model, count = adcc.load(classifier_path(), device="cpu", batch_size=2), 40
    source, plan = as_source(f"drawings:{count}"), make_plan(["gradcam", "center"])
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 4

    with Store.create(None) as store:
        with pytest.raises(InterruptedRunError):
            evaluate_into(store, model, source, plan, "drawings", stop=stop)
        progress = store.progress(1, list(plan.methods))
        assert {0, 1} <= progress.finished and len(progress.finished) < count
        # Of the batch that was being computed, whole methods are kept.
        assert all(len(done) < 2 for done in progress.partial.values())
        evaluate_into(store, model, source, plan, "drawings")
        assert store.run(1).complete and store.run(1).images == count


def test_the_second_signal_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line(tmp_path: Path, number: signal.Signals) -> None:
    run = tmp_path / "run.sqlite"
    program = [sys.executable, "-m", "adcc_onnx", "evaluate", str(classifier_path())]
    options = [
        "--images",
        "drawings:5000",
        "--method",
        "gradcam",
        "-o",
        str(run),
        "--device",
        "cpu",
    ]
    child = subprocess.Popen([*program, *options], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not _rows(run) and time.monotonic() < deadline:
        time.sleep(0.1)
    child.send_signal(number)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 130
    assert said.strip().endswith(f"is kept in {run}: the same command with --resume continues")
    assert "Traceback" not in said
    assert 0 < _rows(run) < 5000


def _rows(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(path) as connection:
            return int(connection.execute("SELECT count(*) FROM score").fetchone()[0])
    except sqlite3.Error:
        return 0  # not made ready yet
