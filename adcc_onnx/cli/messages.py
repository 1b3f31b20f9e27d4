"""Text on standard output; notices, warnings and errors on standard error."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from adcc_onnx.cli.message_settings import MESSAGES, columns_of, json_line, shows_colors
from adcc_onnx.errors import AdccWarning, StoreError

if TYPE_CHECKING:
    from adcc_onnx.report.table_layout import Display

_COLORS = {"debug": "bright_black", "warning": "yellow", "error": "red"}
_ERASE_LINE = "\x1b[K"
_NARROWEST = 30  # columns of a table


def terminal_display() -> Display:
    """Return how a table is shown on standard output.

    A terminal has a width and colors. A file or a pipe has neither, so that the text in it does not
    depend on where it was written.
    """
    from adcc_onnx.report.table_layout import Display

    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = max(_NARROWEST, columns_of(sys.stdout)) if is_terminal else None
    return Display(width, sys.stdout is not None and shows_colors(sys.stdout))


def show(text: str) -> None:
    """Print a text on standard output; a text that cannot be printed is kept in the cache folder.

    Args:
        text: Lines whose names from untrusted files are escaped already.

    Raises:
        StoreError: Standard output cannot be written.
    """
    try:
        _write(sys.stdout, text)
    except StoreError as error:
        kept = _kept(text)
        where = f"; the text is kept in {kept}" if kept else ""
        raise StoreError(f"{error}{where}") from error


def show_line(text: str) -> None:
    """Print a line on standard output; control characters in it are escaped.

    Args:
        text: The line, which may hold names from untrusted files.

    Raises:
        StoreError: Standard output cannot be written.
    """
    from adcc_onnx.report.text_table import safe

    # The line may replace a longer line of progress.
    _write(sys.stdout, f"{_erase(sys.stdout)}{safe(text)}")


def show_document(text: str) -> None:
    """Print a document that states its own encoding, UTF-8, whatever that of the terminal is.

    Args:
        text: The document.
    """
    sys.stdout.flush()
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        show(text)
        return
    stream.write(text.encode())
    stream.flush()


def _erase(stream: TextIO) -> str:
    return _ERASE_LINE if stream.isatty() else ""


def _write(stream: TextIO, text: str) -> None:
    stream.write(text if text.endswith("\n") else f"{text}\n")
    stream.flush()


def _kept(text: str) -> Path | None:
    """Write a text that could not be printed to a file; the next one replaces it."""
    from adcc_onnx.runtime.cache_folder import cache_folder

    try:
        path = cache_folder() / "unprinted.txt"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory.
        return None
    return path


def notice(text: str) -> None:
    """Print a line on standard error, unless messages are quiet.

    Args:
        text: The line, which may hold names from untrusted files.
    """
    tell("info", text)


def tell(level: str, text: str, **fields: Any) -> None:
    """Print a message on standard error; control characters in it are escaped.

    Args:
        level: "debug", "info", "warning" or "error".
        text: The message, which may hold names from untrusted files.
        **fields: Further fields of the message in JSON.
    """
    from adcc_onnx.report.text_table import safe

    if sys.stderr is None or not MESSAGES.shows(level):
        return
    # An explicit stream: otherwise Click writes UTF-8 to a terminal of ASCII. `color` stops Click
    # from removing the escape sequences. The line may replace a longer line of progress.
    if MESSAGES.as_json:
        click.echo(json_line(level, text, **fields), file=sys.stderr)
        return
    line = safe(f"adcc-onnx: {text}" if level in ("warning", "error") else text)
    if shows_colors(sys.stderr) and level in _COLORS:
        line = click.style(line, fg=_COLORS[level])
    click.echo(f"{_erase(sys.stderr)}{line}", file=sys.stderr, color=True)


def stop(message: str, code: int) -> NoReturn:
    """Print an error and exit.

    Args:
        message: The error.
        code: The exit status.
    """
    tell("error", message, exit_status=code)
    sys.exit(code)


def show_traceback() -> None:
    """Print the traceback of the current exception under `--verbose`."""
    if MESSAGES.verbose:
        import traceback

        trace = traceback.format_exc().rstrip()
        if MESSAGES.as_json:
            tell("debug", "traceback", traceback=trace)
        else:
            for line in trace.splitlines():
                tell("debug", line)


def show_usage_error(error: click.ClickException) -> NoReturn:
    """Print Click's message about wrong usage and exit with its status.

    Args:
        error: The error, whose text may hold control characters from the command line.
    """
    from adcc_onnx.report.text_table import safe

    if MESSAGES.as_json:
        stop(error.format_message(), error.exit_code)
    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().splitlines():
        click.echo(safe(line), file=sys.stderr)
    sys.exit(error.exit_code)


@contextmanager
def printed_warnings() -> Iterator[None]:
    """Print our own warnings on one line, without the place in the code."""
    with warnings.catch_warnings():
        original = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, AdccWarning):
                tell("warning", str(message), category=category.__name__)
            elif MESSAGES.as_json:
                where = {"file": str(place[0]), "line": place[1]} if len(place) > 1 else {}
                tell("warning", str(message), category=category.__name__, **where)
            else:
                original(message, category, *place, **more)

        warnings.showwarning = show
        yield
