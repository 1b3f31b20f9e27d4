"""Run the command line from a checkout."""

from adcc_onnx.cli.command_group import main

main()
