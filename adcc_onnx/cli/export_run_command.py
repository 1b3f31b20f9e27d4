"""The command `adcc-onnx export-run`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.shared_options import FILE, FOLDER, force_option, out_option

_EXAMPLE = """
adcc-onnx export-run run.sqlite --to parquet -o run.parquet
adcc-onnx export-run run.sqlite --to mlflow -o mlflow/
"""


@new_command("export-run", _EXAMPLE)
@click.argument("runs", nargs=-1, required=True, type=FILE, metavar="RUN.sqlite...")
@option(
    "--to",
    heading="Output",
    required=True,
    type=click.Choice(["parquet", "mlflow", "fiftyone", "model-card"]),
    help="Format of the export.",
)
@option(
    "--images",
    heading="Output",
    type=FOLDER,
    metavar="DIR",
    help="Folder of the images for FiftyOne.  [default: the thumbnails of the run]",
)
@out_option("New file (parquet, model-card) or folder (mlflow, fiftyone).", required=True)
@force_option("Replace an existing file or FiftyOne dataset; a run is never replaced.")
def command(runs: tuple[Path, ...], to: str, images: Path | None, out: Path, force: bool) -> None:
    """Write stored runs for Parquet, MLflow and other tools.

    parquet has one row per image and method; mlflow adds runs to a local store; fiftyone is a data
    set with the maps and scores of every image; model-card is a card of the Hugging Face Hub with
    `model-index` metadata. Nothing is sent over the network.
    """
    from adcc_onnx.api.run_exporting import export_run

    click.echo(f"written to {export_run(runs, out, to=to, images=images, force=force)}")
