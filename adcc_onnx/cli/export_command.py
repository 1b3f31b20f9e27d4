"""The command `adcc-onnx export`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import show_line
from adcc_onnx.cli.shared_options import out_option

_EXAMPLE = """
adcc-onnx export torchvision:resnet50 -o resnet50.onnx
"""


@new_command("export", _EXAMPLE)
@click.argument("network", metavar="torchvision:NAME|keras:NAME")
@option(
    "--weights",
    heading="Model",
    default="default",
    metavar="default|none|NAME|FILE",
    help="Weights: the framework's default download, none (random), a name of the framework, or a "
    "file.",
)
@out_option("ONNX file for the network.  [default: NAME.onnx]")
def command(network: str, weights: str, out: Path | None) -> None:
    """Export a network of torchvision or Keras to ONNX.

    The framework must be installed. The card with the preprocessing and the class names is written
    next to the model.
    """
    from adcc_onnx.exporting import export

    path = export(network, out, weights)
    show_line(f"{path}, with its card {path.with_suffix('.toml').name}")
