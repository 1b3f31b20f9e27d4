"""The progress of a run on standard error: one line that is redrawn, or a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from adcc_onnx.cli.message_settings import MESSAGES, columns_of, json_line
from adcc_onnx.evaluation.durations import duration_text
from adcc_onnx.evaluation.run_tracker import RunTracker, Snapshot

_REDRAW_SECONDS = 0.25  # on a terminal
_LINE_SECONDS = 30.0  # elsewhere, such as in a log file
_SHORT_SECONDS = 5.0  # a shorter run needs no last line
_TITLE = 24  # characters
_BAR = (30, 16)  # characters


@contextmanager
def progress_bar(tracker: RunTracker) -> Iterator[None]:
    """Show the progress of a run until the end of the context.

    Args:
        tracker: The progress.
    """
    if not MESSAGES.shows("info"):
        yield
        return
    on_terminal = sys.stderr.isatty() and not MESSAGES.as_json
    ended, start = threading.Event(), time.monotonic()

    def show() -> None:
        while True:
            if on_terminal:
                draw(progress_line(tracker, columns_of(sys.stderr)))
            if ended.wait(_REDRAW_SECONDS if on_terminal else _LINE_SECONDS):
                return
            if not on_terminal:
                _print(plain_line(tracker), tracker)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if on_terminal:
            draw("")
    seconds = time.monotonic() - start
    if seconds > (_SHORT_SECONDS if on_terminal else _LINE_SECONDS):
        _print(last_line(tracker, seconds), tracker)


def _print(line: str, tracker: RunTracker) -> None:
    """Print a line; in JSON, it also has the numbers as fields."""
    if MESSAGES.as_json:
        now = tracker.snapshot()
        line = json_line(
            "info", line,
            event="progress", title=tracker.title, unit=tracker.unit, finished=now.finished,
            total=tracker.total, passes=now.passes, expected_passes=now.expected_passes,
            seconds_left=now.seconds_left,
        )  # fmt: skip
    print(line, file=sys.stderr, flush=True)


def draw(line: str) -> None:
    """Replace the current line of the terminal; the cursor stays at its beginning.

    Args:
        line: The new text.
    """
    sys.stderr.write(f"\r\x1b[K{line}\r")
    sys.stderr.flush()


def progress_line(tracker: RunTracker, width: int) -> str:
    """Return the progress in one line, with as many details as fit.

    Args:
        tracker: The progress.
        width: The number of columns.
    """
    now = tracker.snapshot()
    title = _title(tracker)
    percent = f"{int(100 * now.fraction):3d} %"
    passes, units = _passes(now, "/"), f"{now.finished:,}/{tracker.total:,} {tracker.unit}"
    rate, left = _rate(tracker, now), _left(now)
    forms = [
        *([title, _bar(now.fraction, bar), percent, passes, units, rate, left] for bar in _BAR),
        [title, percent, passes, units, rate, left],
        [title, percent, passes, rate, left],
        [title, percent, passes, left],
        [percent, passes, left],
        [percent, left],
    ]
    lines = ["  ".join(part for part in form if part) for form in forms]
    return next((line for line in lines if len(line) < width), percent)


def plain_line(tracker: RunTracker) -> str:
    """Return the progress in one line for a log file.

    Args:
        tracker: The progress.
    """
    now = tracker.snapshot()
    parts = [
        f"{int(100 * now.fraction)} %",
        _passes(now, " of "),
        f"{now.finished:,} of {tracker.total:,} {tracker.unit}",
        _rate(tracker, now),
        _left(now),
    ]
    return f"{_title(tracker)}: {', '.join(part for part in parts if part)}"


def last_line(tracker: RunTracker, seconds: float) -> str:
    """Return what a finished run took.

    Args:
        tracker: The progress.
        seconds: The time of the run.
    """
    now = tracker.snapshot()
    parts = [
        f"{now.finished:,} {tracker.unit}",
        f"{now.passes:,} passes" if now.passes else "",
        duration_text(seconds),
        _rate(tracker, now),
    ]
    return f"{_title(tracker)}: {', '.join(part for part in parts if part)}"


def _title(tracker: RunTracker) -> str:
    from adcc_onnx.report.text_table import safe

    title = safe(tracker.title)
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 3]}..."


def _bar(fraction: float, width: int) -> str:
    filled = int(width * fraction)
    return f"[{'#' * filled}{'-' * (width - filled)}]"


def _passes(now: Snapshot, separator: str) -> str:
    if now.expected_passes is None:
        return f"{now.passes:,} passes" if now.passes else ""
    return f"{now.passes:,}{separator}{now.expected_passes:,} passes"


def _rate(tracker: RunTracker, now: Snapshot) -> str:
    if not now.per_second:
        return ""
    return f"{now.per_second:.{1 if now.per_second >= 1 else 3}f} {tracker.unit}/s"


def _left(now: Snapshot) -> str:
    return "" if now.seconds_left is None else f"{duration_text(now.seconds_left)} left"
