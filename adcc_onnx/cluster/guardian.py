"""Ends the processes of a private cluster if the process that started it dies.

Ray's own processes notice the death of their driver late, some after more than a minute. This
program inherits a pipe from the driver. When the pipe closes, even by SIGKILL, it ends every
process whose environment holds the driver's mark.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "ADCC_ONNX_DRIVER"
_PAUSE_SECONDS = 0.1
_MOST_LOOKS, _QUIET_LOOKS = 100, 5


@contextmanager
def guarded() -> Iterator[None]:
    """Mark all processes that are started in the context, and end those that outlive it."""
    if not Path("/proc/self/environ").exists():  # no such file on this system
        yield
        return
    mark = secrets.token_hex(16)
    words = [sys.executable, str(Path(__file__)), mark]
    # In a session of its own, so that Ctrl-C in the terminal does not reach it.
    guardian = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        guardian.communicate()


def marked(mark: str) -> list[int]:
    """Return the ids of the processes whose environment holds a mark.

    Args:
        mark: The value of the variable.
    """
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it has just ended, or belongs to another user
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def main() -> None:
    """Wait for the end of the driver, and end what it left."""
    sys.stdin.buffer.read()
    quiet = 0
    for _ in range(_MOST_LOOKS):
        left = marked(sys.argv[1])
        # A process that a dying one has just started shows no environment until it is loaded.
        quiet = 0 if left else quiet + 1
        if quiet == _QUIET_LOOKS:
            return
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
