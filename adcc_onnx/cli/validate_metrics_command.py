"""The command `adcc-onnx validate-metrics`."""

from __future__ import annotations

from pathlib import Path

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import notice, show, terminal_display
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import (
    json_option,
    methods_option,
    metrics_option,
    model_options,
    out_option,
    seed_option,
    source_options,
)
from adcc_onnx.evaluation.run_options import ModelOptions, SourceOptions

_EXAMPLE = """
adcc-onnx validate-metrics --metric adcc --metric insertion
"""


@new_command("validate-metrics", _EXAMPLE)
@source_options(default="drawings:64")
@option(
    "--model",
    heading="Model",
    metavar="MODEL",
    help="ONNX file of the classifier.  [default: the built-in classifier]",
)
@methods_option(
    help="Method that explains the model; the maps of the first one are also corrupted. Repeat it "
    "for several.  [default: eight methods]"
)
@metrics_option("Metric to test; repeat it for several.  [default: most metrics]")
@option(
    "--against",
    heading="Methods and metrics",
    default="best_iou",
    metavar="METRIC",
    help="Metric of the ground truth: best_iou, energy_pointing_game or pointing_game.",
)
@seed_option
@model_options
@out_option("SQLite file that keeps the run.  [default: the run is not kept]")
@json_option
def command(
    source: SourceOptions,
    model: str | None,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    against: str,
    seed: int,
    model_options: ModelOptions,
    out: Path | None,
    as_json: bool,
) -> None:
    """Test the metrics on images with known ground truth.

    The maps of several methods, and maps that are corrupted on purpose, are ordered by how well
    they find the object. Each metric orders the same maps without knowing the object. The result
    says how well the two orders agree.
    """
    from adcc_onnx.api.measuring import validate_metrics
    from adcc_onnx.report.validation_report import validation_to_json, validation_to_text

    found = validate_metrics(
        model, source.images, methods, metrics,
        against=against, labels=source.labels, truth=source.truth, limit=source.limit,
        sample=source.sample, cache_crops=source.cache_crops, seed=seed, out=out,
        bar=progress_bar, notify=notice, **model_options,
    )  # fmt: skip
    text = validation_to_text(found, terminal_display())
    show(validation_to_json(found) if as_json else text)
