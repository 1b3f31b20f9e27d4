"""The command `adcc-onnx inspect`."""

from __future__ import annotations

import json
from typing import Any

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show, terminal_display
from adcc_onnx.cli.shared_options import (
    json_option,
    model_argument,
    scores_output_option,
    set_option,
    size_option,
)

_EXAMPLE = """
adcc-onnx inspect resnet50.onnx
"""


@new_command("inspect", _EXAMPLE)
@model_argument
@scores_output_option
@size_option
@set_option
@json_option
def command(
    model: str,
    scores_output: str | None,
    size: tuple[int, int] | None,
    set_inputs: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """Show the input, scores and layers of a model.

    The list names every layer that can be explained, the default layer and the reason for it, and
    the operators that cannot be differentiated.
    """
    from adcc_onnx.api.graphs import inspect
    from adcc_onnx.report.inspection_report import inspection_to_text

    found = inspect(model, size=size, scores_output=scores_output, set_inputs=set_inputs)
    show(
        json.dumps(found, indent=2) + "\n"
        if as_json
        else inspection_to_text(found, terminal_display())
    )
