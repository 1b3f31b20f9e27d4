"""Ctrl-C: the run ends between two passes, keeps what is finished, and says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import command, count, environment, report_of

import adcc_onnx as adcc
from adcc_onnx.cams.method import Need
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import InterruptedRunError
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.passes import Pass, PassCounter, RunStoppedError, counting

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
LONG = "rise(masks=1000000)"


def test_a_stopped_run_keeps_what_is_finished() -> None:
    model, images = adcc.load(classifier_path(), device="cpu", batch_size=2), 40
    source, plan = as_source(f"drawings:{images}"), make_plan(["gradcam", "center"])
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 4

    with Store.create(None) as store:
        with pytest.raises(InterruptedRunError):
            evaluate_into(
                store, model, source, plan, "drawings", graceful=lambda: nullcontext(stop)
            )
        progress = store.progress(1, list(plan.methods))
        assert len(progress.finished) < images
        # Of the batch that was being computed, whole methods are kept.
        assert all(len(done) < 2 for done in progress.partial.values())
        evaluate_into(store, model, source, plan, "drawings")
        assert store.run(1).complete and store.run(1).images == images


def test_a_long_sequence_of_passes_stops_after_the_current_one() -> None:
    model = adcc.load(classifier_path(), device="cpu", batch_size=4)
    needs = frozenset({Need.MASKED_SCORES})
    outputs = run_images(model, np.zeros((1, 3, 112, 112), np.float32), None, needs, [0])
    counter = PassCounter(lambda: counter.passes.get(Pass.MASKED, 0) >= 12)
    with counting(counter), pytest.raises(RunStoppedError):
        BatchContext(outputs).masked_scores(0, np.zeros((1000, 7, 7), np.float32))
    assert counter.passes == {Pass.MASKED: 12}


def started(*words: str | Path) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*words), text=True, env=environment(), **pipes)


def interrupted(path: Path, *numbers: signal.Signals) -> tuple[int, list[str], float]:
    """Send signals inside a sequence of a million passes, which follows one quick method."""
    words = ["evaluate", classifier_path(), "--images", "drawings:8", "--device", "cpu"]
    words += ["--batch-size", "8", "--method", "gradcam", "--method", LONG, "-o", path]
    with started(*words) as child:
        deadline = time.monotonic() + 120
        while count(path, "score") < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        start = time.monotonic()
        for number in numbers:
            child.send_signal(number)
            time.sleep(0.005)
        try:
            _, said = child.communicate(timeout=120)
        finally:
            child.kill()  # if it did not answer; nothing otherwise
        return child.returncode, said.splitlines(), time.monotonic() - start


@posix
def test_the_first_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    status, said, _ = interrupted(path, signal.SIGINT)
    assert status == 130
    assert said[-2:] == [
        "adcc-onnx: finishing the current batch; press again to abort",
        f"adcc-onnx: interrupted; what was finished is kept in {path}: the same command with "
        "--resume continues",
    ]
    assert "this run will take about" in "".join(said)
    # Of the eight images, whole methods are kept: Grad-CAM, and the controls that share its runs.
    assert count(path, "image") == 8 and count(path, "score") in (8, 16, 24)


@posix
def test_sigterm(tmp_path: Path) -> None:
    status, said, _ = interrupted(tmp_path / "run.sqlite", signal.SIGTERM)
    assert status == 143 and said[-2] == "adcc-onnx: finishing the current batch"


@posix
def test_the_second_ctrl_c(tmp_path: Path) -> None:
    status, said, _ = interrupted(tmp_path / "run.sqlite", signal.SIGINT, signal.SIGINT)
    assert status == 130
    assert "adcc-onnx: finishing the current batch; press again to abort" in said
    assert not any("Traceback" in line or "terminate" in line for line in said)


IN_PYTHON = f"""
import threading
import adcc_onnx as adcc
try:
    adcc.evaluate({str(classifier_path())!r}, "drawings:400", ["gradcam", "scorecam"],
                  out="run.sqlite", resume=True, device="cpu", batch_size=4)
except KeyboardInterrupt:
    print("stopped", [t.name for t in threading.enumerate() if t.name.startswith("adcc-run")])
"""


@posix
def test_keyboard_interrupt_in_python(tmp_path: Path) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = [sys.executable, "-c", IN_PYTHON]
    where = {"cwd": tmp_path, "env": {**environment(), "PYTHONPATH": os.pathsep.join(sys.path)}}
    with subprocess.Popen(words, text=True, **where, **pipes) as child:
        while not count(tmp_path / "run.sqlite", "score") and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, said = child.communicate(timeout=120)
    assert (child.returncode, out, said) == (0, "stopped []\n", "")
    assert 0 < count(tmp_path / "run.sqlite", "image") < 400


@posix
def test_explain_keeps_whole_files(tmp_path: Path) -> None:
    with started("explain", classifier_path(), "drawings:64", "--device", "cpu",
                 "--batch-size", "1", "--method", "scorecam", "-o", tmp_path) as child:  # fmt: skip
        while not list(tmp_path.rglob("*.npy")) and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=120)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    # An overlay, one of the crop, a grid and a map of each finished image.
    assert child.returncode == 130 and files and len(files) % 4 == 0
    assert said.splitlines()[-1] == (
        f"adcc-onnx: interrupted; {len(files)} finished files are in {tmp_path}"
    )
    assert all(np.load(path).shape == (112, 112) for path in tmp_path.rglob("*.npy"))


@posix
@pytest.mark.parametrize(
    "words",
    [
        ["randomize", classifier_path(), "--images", "drawings:400"],
        pytest.param(["validate-metrics", "--images", "drawings:400"], marks=pytest.mark.slow),
        pytest.param(["benchmark", classifier_path(), "--rounds", "100"], marks=pytest.mark.slow),
        pytest.param(["demo"], marks=pytest.mark.slow),
    ],
    ids=lambda words: words[0],
)
def test_other_commands(words: list[str | Path], tmp_path: Path) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        command(*words), text=True, cwd=tmp_path, env=environment(), **pipes
    ) as child:
        time.sleep(1.5)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=120)
    # Before the command line is imported, the process ends by the signal itself.
    assert child.returncode in (130, -signal.SIGINT), said
    assert child.returncode == -signal.SIGINT or said.splitlines()[-1] == "adcc-onnx: interrupted"
    assert "Traceback" not in said and "terminate" not in said


REPLACED = """
import os, signal
from adcc_onnx.cli import command_group, methods_command

def work(**options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass
    except KeyboardInterrupt:
        raise TypeError("expected a message argument") from None

methods_command.command.callback = work
command_group.main(["methods"])
"""


@posix
def test_an_error_in_place_of_keyboard_interrupt_is_an_interruption() -> None:
    """Python itself replaces it so, if it interrupts an import that fails."""
    words = [sys.executable, "-c", REPLACED]
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 130 and "adcc-onnx: interrupted\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_merge_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, into = tmp_path / "part.sqlite", tmp_path / "into.sqlite"
    adcc.evaluate(classifier_path(), "drawings:2", "center", device="cpu", out=part)
    before = report_of(part)

    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        adcc.merge([part], into)
    assert not into.exists() and report_of(part) == before
