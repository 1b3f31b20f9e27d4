"""The command `adcc-onnx bake`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import show_line
from adcc_onnx.cli.shared_options import (
    force_option,
    fuse_option,
    layer_option,
    model_argument,
    out_option,
    scores_option,
    scores_output_option,
    set_option,
    size_option,
    target_option,
)

_EXAMPLE = """
adcc-onnx bake resnet50.onnx --method layercam -o explained.onnx
"""


@new_command("bake", _EXAMPLE)
@model_argument
@option(
    "--method",
    heading="Methods and metrics",
    default="gradcam",
    metavar="NAME",
    help="Method of one forward and at most one backward pass.",
)
@target_option(labels=False, aliases=["--class"])
@layer_option
@fuse_option
@scores_option
@scores_output_option
@size_option
@set_option
@out_option("ONNX file for the new model.", required=True)
@force_option("Replace an existing file; the input model is never replaced.")
def command(
    model: str,
    method: str,
    target: str,
    layers: list[str] | None,
    fuse: str,
    scores: str,
    scores_output: str | None,
    size: tuple[int, int] | None,
    set_inputs: dict[str, Any] | None,
    out: Path,
    force: bool,
) -> None:
    """Add the heatmap of a method to a model's outputs.

    The new model has one more output, `heatmap` [batch, H, W] in [0, 1]. It consists of standard
    operators and runs in any onnxruntime. It is checked before it is written: if the check fails,
    there is no file.
    """
    from adcc_onnx.api.graphs import save_baked

    save_baked(
        model,
        out,
        method,
        layers,
        target,
        fuse=fuse,
        scores=scores,
        size=size,
        scores_output=scores_output,
        set_inputs=set_inputs,
        force=force,
    )
    show_line(f"{out}: heatmap of {method}")
