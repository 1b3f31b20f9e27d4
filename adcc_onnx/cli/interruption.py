"""Ctrl-C and SIGTERM: the first signal stops a command without loss, the second one at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from adcc_onnx.cli.message_settings import MESSAGES, json_line

# Ctrl-C, and the signal by which service managers end a process.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MAX_WAIT = 1.0  # seconds, for the answer to a signal


class Interruption:
    """The signals of one command.

    A thread answers each signal, because the main thread may be inside a long call of onnxruntime
    or Numba. The first signal raises KeyboardInterrupt in the main thread as soon as that call
    returns. In a `graceful` part of the work it only sets a flag. The second signal ends the
    process. Rows that were written to a store are safe at any moment, as after SIGKILL.

    Attributes:
        exit_code: The exit status after a signal: 128 plus its number.
    """

    def __init__(self) -> None:
        self.exit_code = 128 + signal.SIGINT
        self._requested, self._answered = threading.Event(), threading.Event()
        self._is_graceful, self._raised = False, False

    @property
    def raised(self) -> bool:
        """Whether KeyboardInterrupt was raised in the main thread."""
        return self._raised

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals in the context; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        previous = {number: signal.signal(number, self._handle) for number in numbers}
        hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        try:
            yield
        finally:
            # After a signal the process ends: a second one must still abort it without a traceback.
            if not self._requested.is_set():
                sys.unraisablehook = hook
                for number, handler in previous.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(wakeup)
                writer.close()

    @contextmanager
    def graceful(self) -> Iterator[Callable[[], bool]]:
        """Let the first signal set a flag instead of raising KeyboardInterrupt.

        Yields:
            A function that returns whether to stop.
        """
        self._is_graceful = True
        try:
            yield self._requested.is_set
        finally:
            self._is_graceful = False

    def end(self, message: str) -> NoReturn:
        """Print the last line of a stopped command and exit.

        Nothing is imported here: the signal may have interrupted the import of any module.

        Args:
            message: The line; control characters in it are escaped.
        """
        shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in message)
        line = f"adcc-onnx: {shown}"
        if MESSAGES.as_json:
            line = json_line("error", message, exit_status=self.exit_code)
        if self._requested.is_set():
            self._answered.wait(_MAX_WAIT)  # the answer to the signal comes first
        click.echo(line, err=True)
        sys.exit(self.exit_code)

    def _watch(self, reader: socket.socket) -> None:
        """Answer signals until the other end of the socket is closed."""
        answered = False
        with reader:
            while number := reader.recv(1):
                self.exit_code = 128 + number[0]
                if answered:
                    os._exit(self.exit_code)
                answered = True
                self._requested.set()
                doing = "finishing the current batch" if self._is_graceful else "stopping"
                again = "; press again to abort" if number[0] == signal.SIGINT else ""
                _write_line(f"{doing}{again}")
                self._answered.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = 128 + number
        self._requested.set()
        if not self._is_graceful and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def _on_unraisable(self, unraisable: Any) -> None:
        """End the process if KeyboardInterrupt was raised where Python ignores exceptions."""
        if unraisable.exc_type is KeyboardInterrupt:
            self._answered.wait(_MAX_WAIT)
            _write_line("interrupted")
            os._exit(self.exit_code)
        sys.__unraisablehook__(unraisable)


def graceful() -> AbstractContextManager[Callable[[], bool]]:
    """Open a part of the current command that can be stopped without loss; see `Interruption`."""
    found = click.get_current_context().find_object(Interruption)
    assert found is not None
    return found.graceful()


def _write_line(text: str) -> None:
    """Write to the terminal at once, whatever the main thread is doing."""
    erase = "\r\x1b[K" if sys.stderr.isatty() else ""
    line = json_line("warning", text) if MESSAGES.as_json else f"{erase}adcc-onnx: {text}"
    try:
        os.write(2, f"{line}\n".encode())
    except OSError:
        return
