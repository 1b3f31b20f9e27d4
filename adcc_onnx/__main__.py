"""Run the command line by `python -m adcc_onnx`."""

from adcc_onnx.cli.command_group import main

main(prog_name="adcc-onnx")
