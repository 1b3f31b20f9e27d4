"""The command `adcc-onnx merge`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show_line
from adcc_onnx.cli.shared_options import FILE, out_option

_EXAMPLE = """
adcc-onnx merge first.sqlite second.sqlite -o both.sqlite
"""


@new_command("merge", _EXAMPLE)
@click.argument("runs", nargs=-1, required=True, type=FILE, metavar="RUN.sqlite...")
@out_option("New SQLite file for the joined run.", required=True)
def command(runs: tuple[Path, ...], out: Path) -> None:
    """Join runs on other images or with other methods.

    The runs must agree in everything else, such as the model, the metrics and the seed. The joined
    run equals the run that evaluates all images and methods at once.
    """
    from adcc_onnx.api.reports import merge

    merge(runs, out)
    show_line(f"{out}: {len(runs)} runs joined")
