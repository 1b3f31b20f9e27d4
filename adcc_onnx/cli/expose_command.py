"""The command `adcc-onnx expose`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show_line
from adcc_onnx.cli.shared_options import (
    force_option,
    layers_option,
    model_argument,
    out_option,
    scores_option,
    scores_output_option,
    set_option,
    size_option,
)

_EXAMPLE = """
adcc-onnx expose resnet50.onnx --layer layer4 -o exposed.onnx
"""


@new_command("expose", _EXAMPLE)
@model_argument
@layers_option(
    "Layer to expose: a tensor, a node, a module path, or `input`; repeat it for several layers."
)
@scores_option
@scores_output_option
@size_option
@set_option
@out_option("ONNX file for the new model.", required=True)
@force_option("Replace an existing file; the input model is never replaced.")
def command(
    model: str,
    layers: list[str] | None,
    scores: str,
    scores_output: str | None,
    size: tuple[int, int] | None,
    set_inputs: dict[str, Any] | None,
    out: Path,
    force: bool,
) -> None:
    """Add activations and gradients to a model's outputs.

    The new model has one more input, `target` (int64 [batch]; -1 is the predicted class), and two
    more outputs per layer, `LAYER.activation` and `LAYER.gradient`. It consists of standard
    operators and runs in any onnxruntime. It is checked before it is written: if the check fails,
    there is no file.
    """
    from adcc_onnx.api.graphs import save_exposed

    added = save_exposed(
        model,
        out,
        layers,
        scores,
        size=size,
        scores_output=scores_output,
        set_inputs=set_inputs,
        force=force,
    )
    show_line(f"{out}: {', '.join(added)}")
