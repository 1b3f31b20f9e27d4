"""Run the command line by `python -m adcc_onnx`."""

import os
import signal
import sys

_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def run() -> None:
    """Run the command line.

    Ctrl-C while Python imports it ends the process silently. After a stopped command the process
    ends without the finalization of Python, so that another Ctrl-C cannot disturb it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from adcc_onnx.cli.command_group import main

    try:
        main(prog_name="adcc-onnx")
    except SystemExit as end:
        if end.code in _INTERRUPTED:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(int(end.code))
        raise


if __name__ == "__main__":
    run()
