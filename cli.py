"""Run adcc-onnx from a checkout: `python cli.py COMMAND`."""

from adcc_onnx.cli import main

main()
