"""A progress bar on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with the speed and the remaining time.

    Args:
        title: The text before the bar.
        total: The number of steps.

    Yields:
        A function that advances the bar by a number of finished steps.
    """
    start, done = time.monotonic(), 0

    def speed(_: object) -> str:
        return f"{done / max(time.monotonic() - start, 1e-9):.1f}/s"

    with click.progressbar(
        length=total,
        label=title,
        show_pos=True,
        show_eta=True,
        item_show_func=speed,
        file=sys.stderr,
    ) as bar:

        def advance(finished: int) -> None:
            nonlocal done
            done += finished
            bar.update(finished, current_item=finished)

        yield advance
