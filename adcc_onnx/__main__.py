"""Run the command line by `python -m adcc_onnx`."""

from adcc_onnx.cli import main

main(prog_name="adcc-onnx")
