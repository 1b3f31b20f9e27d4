"""Run the command line from a checkout."""

from adcc_onnx.cli import main

main()
