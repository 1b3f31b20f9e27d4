"""Run the command line from a checkout."""

from adcc_onnx.__main__ import run

run()
