"""Messages on standard error: notices, warnings and errors."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from adcc_onnx.errors import AdccWarning

_ERASE_LINE = "\x1b[K"


def notice(text: str) -> None:
    """Print a line on standard error; control characters in it are escaped.

    Args:
        text: The line, which may hold names from untrusted files.
    """
    from adcc_onnx.report.text_table import safe

    # The line may replace a longer line of progress; click removes the code if this is no terminal.
    click.echo(f"{_ERASE_LINE}{safe(text)}", err=True)


def printed(text: str) -> None:
    """Print a line on standard output while a line of progress may be shown.

    Args:
        text: The line.
    """
    click.echo(f"{_ERASE_LINE}{text}")


def stop(message: str, code: int) -> NoReturn:
    """Print an error and exit.

    Args:
        message: The error.
        code: The exit status.
    """
    notice(f"adcc-onnx: {message}")
    sys.exit(code)


@contextmanager
def printed_warnings() -> Iterator[None]:
    """Print our own warnings on one line, without the place in the code."""
    with warnings.catch_warnings():
        original = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, AdccWarning):
                notice(f"adcc-onnx: {message}")
            else:
                original(message, category, *place, **more)

        warnings.showwarning = show
        yield
