"""A program that forks a process per command line, so that each one starts without imports.

It reads lines of JSON: {"words": [...], "stderr": path}. For each it prints the process id of a
child that runs the command line, and then the child's status as `os.waitpid` gives it.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def main() -> None:
    """Serve until the standard input is closed."""
    # Everything but sessions and compiled kernels, which have threads and do not survive a fork.
    from adcc_onnx.__main__ import run

    for line in sys.stdin:
        given = json.loads(line)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            null, said = os.open(os.devnull, os.O_RDWR), os.open(given["stderr"], os.O_WRONLY)
            for descriptor, file in ((0, null), (1, null), (2, said)):
                os.dup2(file, descriptor)
            sys.argv = ["adcc-onnx", *given["words"]]
            try:
                run()
            except SystemExit as end:
                os._exit(int(end.code or 0))
            os._exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
