"""The line of progress: its exact text at several widths, and what a log file gets."""

from __future__ import annotations

import io
import os
import sys

import pytest
from helpers.command_line import command, environment

from adcc_onnx.cli import progress
from adcc_onnx.cli.progress import last_line, plain_line, progress_bar, progress_line
from adcc_onnx.drawings import classifier_path
from adcc_onnx.evaluation.run_tracker import RunTracker, Snapshot


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> RunTracker:
    tracker = RunTracker("resnet50", 500)
    now = Snapshot(123, 12400, 50000, 0.25, 3.14, 130.0)
    monkeypatch.setattr(tracker, "snapshot", lambda: now)
    return tracker


def test_the_line_fits_the_terminal(tracker: RunTracker) -> None:
    whole = "12,400/50,000 passes  123/500 images  3.1 images/s  2 min 10 s left"
    assert progress_line(tracker, 120) == f"resnet50  [{'#' * 7}{'-' * 23}]   25 %  {whole}"[:200]
    assert progress_line(tracker, 110) == f"resnet50  [{'#' * 4}{'-' * 12}]   25 %  {whole}"
    assert progress_line(tracker, 80) == (
        "resnet50   25 %  12,400/50,000 passes  3.1 images/s  2 min 10 s left"
    )
    assert progress_line(tracker, 40) == " 25 %  2 min 10 s left"
    assert progress_line(tracker, 10) == " 25 %"
    for width in range(6, 200):
        assert len(progress_line(tracker, width)) < max(width, 6)


def test_a_long_or_hostile_title_is_cut() -> None:
    tracker = RunTracker("\x1b[2J" + "a" * 99, 5, "steps")
    line = progress_line(tracker, 80)
    assert "\x1b" not in line and "...  " in line and line.endswith("0 %  0/5 steps")


def test_the_lines_of_a_log_file(tracker: RunTracker) -> None:
    assert plain_line(tracker) == (
        "resnet50: 25 %, 12,400 of 50,000 passes, 123 of 500 images, 3.1 images/s, 2 min 10 s left"
    )
    assert (
        last_line(tracker, 60.0) == "resnet50: 123 images, 12,400 passes, 1 min 0 s, 3.1 images/s"
    )


def test_a_log_file_gets_a_line_now_and_then(
    tracker: RunTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(tracker):
        while not sys.stderr.getvalue():
            pass
    lines = sys.stderr.getvalue().splitlines()
    assert set(lines[:-1]) == {plain_line(tracker)} and lines[-1].startswith("resnet50: 123 images")


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_in_a_terminal() -> None:
    """The terminal tells its width, and is not as wide as the default."""
    import fcntl
    import pty
    import struct
    import termios

    width, words = 120, ["evaluate", classifier_path(), "--images", "drawings:16"]
    child, terminal = pty.fork()
    if not child:
        given = {**environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
        del given["COLUMNS"]
        os.execve(sys.executable, command(*words, "--device", "cpu", "--method", "scorecam"), given)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    shown = b""
    while chunk := _read(terminal):
        shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    drawn = [line for line in shown.decode().replace("\x1b[K", "").split("\r") if "passes" in line]
    assert 80 < max(len(line) for line in drawn if not line.startswith("\n")) < width
    assert any("/" in line and line.endswith(" left") for line in drawn)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the end, on Linux
        return b""
