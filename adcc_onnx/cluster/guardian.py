"""Ends the processes of a private cluster if the process that started it dies.

Ray's own processes notice the death of their driver late, some after more than a minute. This
program inherits a pipe from the driver. When the pipe closes, even by SIGKILL, it ends every
process whose environment holds the driver's mark.

Ray's agents write their titles over their environment, which would hide the mark; a variable of the
library that sets titles prevents this.

A process that Ray has just started shows no environment until the kernel has loaded it, which takes
seconds on a busy machine. After the death of a driver, the program therefore looks for a while.
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
_KEEP_ENVIRONMENT = "SPT_NOENV"  # read by setproctitle, also by the copy in Ray
_PAUSE_SECONDS = 0.1
_MOST_SECONDS = 50.0
# Seconds without a find: after the end of a driver, which has stopped Ray, and after its death.
_QUIET_SECONDS, _QUIET_SECONDS_AFTER_DEATH = 0.5, 5.0
_ENDED = b"ended"


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
    given = os.environ.get(_KEEP_ENVIRONMENT)
    os.environ |= {MARK: mark, _KEEP_ENVIRONMENT: "1"}
    try:
        yield
    finally:
        del os.environ[MARK]
        if given is None:
            del os.environ[_KEEP_ENVIRONMENT]
        else:
            os.environ[_KEEP_ENVIRONMENT] = given
        guardian.communicate(_ENDED)


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
    patience = _QUIET_SECONDS if sys.stdin.buffer.read() == _ENDED else _QUIET_SECONDS_AFTER_DEATH
    start = last_found = time.monotonic()
    while time.monotonic() - start < _MOST_SECONDS:
        for process in marked(sys.argv[1]):
            last_found = time.monotonic()
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if time.monotonic() - last_found > patience:
            return
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
