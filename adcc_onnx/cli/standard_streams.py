"""Standard output and standard error: every encoding, and one line if they cannot be written."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from adcc_onnx.errors import StoreError

_PLAIN_ERRORS = "adcc-onnx-plain"
# One character each where possible, so that the columns of tables stay aligned.
_PLAIN = {
    "≈": "~", "±": "+-", "·": "|", "–": "-", "—": "-", "−": "-", "↑": "^", "↓": "v", "→": "->",
    "≥": ">=", "≤": "<=", "×": "x", "µ": "u", "…": "...", "°": " deg", "²": "^2",
    "“": '"', "”": '"', "‘": "'", "’": "'", "█": "#", "░": ".", "─": "-",
}  # fmt: skip


class ClosedPipeError(Exception):
    """The reader of standard output has gone, such as `head` after its last line."""


class _StandardOutput(io.RawIOBase):
    """Standard output whose errors are ours; after the first one, everything is discarded.

    Args:
        raw: The stream of bytes; None if the process was started without standard output.
    """

    def __init__(self, raw: io.RawIOBase | None) -> None:
        self._raw, self._failed = raw, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._raw is None:
            raise io.UnsupportedOperation("fileno")
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw is not None and self._raw.isatty()

    def write(self, data: Any, /) -> int | None:
        if self._failed:
            return len(data)
        try:
            if self._raw is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return self._raw.write(data)
        except OSError as error:
            self._failed = True
            return self._give_up(error, len(data))

    def _give_up(self, error: OSError, size: int) -> int:
        if isinstance(error, BrokenPipeError):
            raise ClosedPipeError from error
        raise StoreError(f"cannot write to standard output: {error.strerror}") from error


class _StandardError(_StandardOutput):
    """Standard error, which loses what cannot be written: no message is worth a run."""

    def _give_up(self, error: OSError, size: int) -> int:
        return size


@contextmanager
def standard_streams() -> Iterator[None]:
    """Print characters that the encoding lacks in plain form; end silently after a closed pipe."""
    codecs.register_error(_PLAIN_ERRORS, _plain)
    before = sys.stdout, sys.stderr
    # Streams that were replaced, as by a test or a notebook, stay as they are.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(sys.stdout, _StandardOutput)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _stream(sys.stderr, _StandardError)
    try:
        yield
        sys.stdout.flush()
    except ClosedPipeError:
        _end_as_by_a_closed_pipe()
    finally:
        sys.stdout, sys.stderr = before


def _stream(stream: TextIO | None, kind: type[_StandardOutput]) -> TextIO:
    """Return a text stream to the same place with other errors."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(kind(None)), "utf-8", _PLAIN_ERRORS)
    stream.flush()
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if raw is None:
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(raw)),
        stream.encoding,
        _PLAIN_ERRORS,
        line_buffering=True,
        write_through=stream is sys.__stderr__,
    )


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks; a handler for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in missing)
    return "".join(plain), error.end


def _end_as_by_a_closed_pipe() -> NoReturn:
    """End the process as the system ends a program that writes to a closed pipe."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    sys.exit(1)
