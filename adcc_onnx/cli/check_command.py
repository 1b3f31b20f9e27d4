"""The command `adcc-onnx check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import notice, show, show_line, terminal_display
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import (
    COUNT,
    device_option,
    force_option,
    images_option,
    json_option,
    labels_option,
    model_argument,
    preprocess_option,
    scores_output_option,
    set_option,
    size_option,
)

_EXAMPLE = """
adcc-onnx check net.onnx --images photos/ --labels labels.csv --write-card
"""


@new_command("check", _EXAMPLE)
@model_argument
@images_option()
@labels_option
@option(
    "--limit",
    heading="Images",
    default=100,
    type=COUNT,
    metavar="N",
    help="Maximum number of images, which are drawn at random.",
)
@option(
    "--seed",
    heading="Images",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="Seed of the choice and the order of the images.",
)
@preprocess_option
@size_option
@set_option
@scores_output_option
@device_option
@option(
    "--write-card",
    heading="Output",
    is_flag=True,
    help="Write the best candidate to the card MODEL.toml next to the model.",
)
@force_option("Replace an existing card; its labels, layer and scores are kept.")
@json_option
def command(
    model: str,
    images: str,
    labels: Path | None,
    limit: int,
    seed: int,
    write_card: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the preprocessing of a model on images.

    The usual pixel values, both orders of the colors, and several ways to resize, crop and
    interpolate run on a few images, and the better ones on more. Labels rank them by top-1
    accuracy. Without labels they are ranked by how sure the predictions are and whether they stay
    the same on mirrored images, which is less certain. A card or --preprocess that exists already
    is compared with them.
    """
    from adcc_onnx.api.checking import check
    from adcc_onnx.report.preprocessing_report import check_to_json, check_to_text

    found = check(
        model, images,
        labels=labels, limit=limit, seed=seed, write_card=write_card, force=force,
        bar=progress_bar, notify=notice, **options,
    )  # fmt: skip
    show(check_to_json(found) if as_json else check_to_text(found, terminal_display()))
    if write_card and not as_json:
        show_line(f"Card: {Path(model).with_suffix('.toml')}")
