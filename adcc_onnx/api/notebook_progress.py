"""A progress bar in the cell of a notebook."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from adcc_onnx.evaluation.run_tracker import RunTracker

_SECONDS = 0.2  # between two updates: every update is a message to the browser


def in_notebook() -> bool:
    """Return whether the code runs in a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def notebook_bar(tracker: RunTracker) -> Iterator[None]:
    """Show the progress of a run in the output of the running cell.

    Args:
        tracker: The progress.
    """
    display = importlib.import_module("IPython.display")
    handle = display.display(display.HTML(_bar(tracker)), display_id=True)
    drawn = time.monotonic()

    def advance(units: int) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > _SECONDS:
            handle.update(display.HTML(_bar(tracker)))
            drawn = time.monotonic()

    tracker.on_advance = advance
    try:
        yield
    finally:
        handle.update(display.HTML(_bar(tracker)))


def _bar(tracker: RunTracker) -> str:
    now = tracker.snapshot()
    speed = f", {now.per_second:.1f}/s" if now.per_second else ""
    left = f", {now.seconds_left:.0f} s left" if now.seconds_left else ""
    return (
        f"{escape(tracker.title)} "
        f'<progress value="{now.finished}" max="{tracker.total}"></progress> '
        f"{now.finished} of {tracker.total} {tracker.unit}{speed}{left}"
    )
