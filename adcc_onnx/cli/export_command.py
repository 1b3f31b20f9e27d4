"""The command `adcc-onnx export`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import show_line
from adcc_onnx.cli.shared_options import out_option

_EXAMPLE = """
adcc-onnx export torchvision:resnet50 -o resnet50.onnx
adcc-onnx export timm:vit_tiny_patch16_224 --weights vit.safetensors
adcc-onnx export keras:MobileNetV2 --weights none
"""


@new_command("export", _EXAMPLE)
@click.argument("network", metavar="FRAMEWORK:NAME")
@option(
    "--weights",
    heading="Model",
    default="default",
    metavar="default|none|NAME|PATH",
    help="Weights: the framework's default download, none (random), a name of the framework, or a "
    "file or folder.",
)
@option(
    "--fold/--no-fold",
    heading="Model",
    default=True,
    help="Fold batch normalization into convolutions (networks of torch). With --no-fold, the file "
    "also contains the layers before the normalization.",
)
@out_option("ONNX file for the network.  [default: NAME.onnx]")
def command(network: str, weights: str, fold: bool, out: Path | None) -> None:
    """Export a network of a training framework to ONNX.

    FRAMEWORK is torchvision, timm, transformers, keras, flax, paddle, sklearn or onnx (a ready file
    with test data), and must be installed. A card with the preprocessing, and a file with the class
    names, are written next to the model. The scores of a random batch are compared with the
    framework's, and nothing is written if they differ.
    """
    from adcc_onnx.exporting import export

    path = export(network, out, weights, fold=fold)
    show_line(f"{path}, with its card {path.with_suffix('.toml').name}")
