"""The command `adcc-onnx explain`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from adcc_onnx.cli.completion import complete_files
from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.interruption import graceful
from adcc_onnx.cli.messages import notice, show_line
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import (
    FILE,
    FOLDER,
    methods_option,
    model_argument,
    model_options,
    out_option,
    seed_option,
    target_option,
)
from adcc_onnx.evaluation.run_options import ModelOptions
from adcc_onnx.explanation.drawing_style import ALPHA, COLORMAP, COLORMAPS

_EXAMPLE = """
adcc-onnx explain net.onnx dog.jpg --preprocess torch -o maps/
"""


@new_command("explain", _EXAMPLE)
@model_argument
@click.argument(
    "images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=complete_files
)
@methods_option(
    default=["gradcam"],
    help="Method with its options, such as gradcam or 'smoothgradcam++(n=4)'; repeat it for "
    "several.",
)
@target_option(aliases=["--class"])
@option(
    "--class-names",
    heading="Methods and metrics",
    type=FILE,
    metavar="FILE",
    help="Text file of class names, one per line.  [default: the names in the model's card]",
)
@seed_option
@model_options
@out_option("Folder for the overlays (PNG) and the maps (NPY).", FOLDER, required=True)
@option(
    "--alpha",
    heading="Output",
    default=ALPHA,
    type=click.FloatRange(0, 1),
    metavar="0..1",
    help="Opacity of the maps in the overlays.",
)
@option(
    "--colormap",
    heading="Output",
    default=COLORMAP,
    type=click.Choice(COLORMAPS),
    help="Color map of the overlays; all of them are perceptually uniform.",
)
@option("--force", heading="Output", is_flag=True, help="Replace existing files.")
def command(
    model: str,
    images: tuple[str, ...],
    methods: tuple[str, ...],
    target: str,
    class_names: Path | None,
    seed: int,
    model_options: ModelOptions,
    out: Path,
    alpha: float,
    colormap: str,
    force: bool,
) -> None:
    """Write overlays and maps of images.

    Each IMAGE is a file, a folder, or any other source that `evaluate --images` accepts. For every
    image, the five most probable classes are printed. For every method, an overlay is written at
    the image's full resolution, another one on the model's crop (*.crop.png), and the map itself
    (NPY, one folder per method, for `evaluate --maps`). A grid (*.grid.png) shows all methods. The
    exit status is 1 if any image failed.
    """
    from adcc_onnx.api.explaining import save_explanations
    from adcc_onnx.api.models import as_model

    loaded = as_model(model, model_options, notice)
    saved = save_explanations(
        loaded, images, methods,
        out=out, target=target, class_names=class_names, seed=seed, alpha=alpha,
        colormap=colormap, force=force, bar=progress_bar, notify=show_line, graceful=graceful,
    )  # fmt: skip
    if saved.failures:
        sys.exit(1)
