"""The command line, `adcc-onnx COMMAND`: one module per command, imported when it is used."""

from adcc_onnx.cli.command_group import main

__all__ = ["main"]
