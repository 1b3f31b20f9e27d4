"""Run the command line by `python -m adcc_onnx`."""

import signal


def run() -> None:
    """Run the command line; Ctrl-C while Python imports it ends the process silently."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from adcc_onnx.cli.command_group import main

    main(prog_name="adcc-onnx")


if __name__ == "__main__":
    run()
