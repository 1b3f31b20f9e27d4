"""`python -m adcc_onnx` is `adcc-onnx`."""

from adcc_onnx.cli import main

main(prog_name="adcc-onnx")
