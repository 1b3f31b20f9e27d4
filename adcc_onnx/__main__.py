"""Run the command line by `python -m adcc_onnx`."""

from adcc_onnx.cli.command_group import main

if __name__ == "__main__":
    main(prog_name="adcc-onnx")
