"""A progress bar in the cell of a notebook."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

_SECONDS = 0.2  # between two updates: every update is a message to the browser


def in_notebook() -> bool:
    """Return whether the code runs in a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def notebook_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar in the output of the running cell.

    Args:
        title: The text before the bar.
        total: The number of images.

    Yields:
        A function that advances the bar by a number of finished images.
    """
    display = importlib.import_module("IPython.display")
    start, drawn, done = time.monotonic(), 0.0, 0
    handle = display.display(display.HTML(_bar(title, 0, total, 0.0)), display_id=True)

    def advance(finished: int) -> None:
        nonlocal done, drawn
        done += finished
        now = time.monotonic()
        if done >= total or now - drawn > _SECONDS:
            handle.update(display.HTML(_bar(title, done, total, now - start)))
            drawn = now

    yield advance


def _bar(title: str, done: int, total: int, seconds: float) -> str:
    speed = f", {done / seconds:.1f}/s" if done and seconds > 0 else ""
    left = f", {seconds * (total - done) / done:.0f} s left" if 0 < done < total else ""
    return (
        f'{escape(title)} <progress value="{done}" max="{total}"></progress> '
        f"{done} of {total} images{speed}{left}"
    )
