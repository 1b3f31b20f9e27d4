"""The command `adcc-onnx demo`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import show, show_line, terminal_display
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import FOLDER, out_option
from adcc_onnx.drawings import CLASSIFIERS

_EXAMPLE = """
adcc-onnx demo
"""


@new_command("demo", _EXAMPLE)
@option(
    "--model",
    heading="Model",
    default="cnn",
    type=click.Choice(CLASSIFIERS),
    help="Built-in classifier: a convolutional network, or a vision transformer.",
)
@out_option("Folder for the overlay pictures.", FOLDER, default="adcc-demo")
def command(model: str, out: Path) -> None:
    """Run a demonstration on a built-in model and images.

    The paper's six methods are evaluated offline on 32 drawings, the ranked table is printed, and
    overlay pictures are written.
    """
    from adcc_onnx.api.demonstration import demo
    from adcc_onnx.api.reports import render_report

    found = demo(out, model=model, bar=progress_bar)
    show(render_report(found.result, **vars(terminal_display())))
    show_line(f"Pictures: {found.folder}")
    show_line(found.verdict)
