"""The command `adcc-onnx compare-models`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.completion import complete_files
from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.interruption import graceful
from adcc_onnx.cli.messages import notice, show, stop, tell, terminal_display
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import (
    force_option,
    json_option,
    methods_option,
    metrics_option,
    model_options,
    out_option,
    seed_option,
    source_options,
    target_option,
)
from adcc_onnx.evaluation.run_options import ModelOptions, SourceOptions

_FAILED, _INTERRUPTED = 3, 130  # exit statuses
_EXAMPLE = """
adcc-onnx compare-models net.onnx int8.onnx --images photos/ --limit 100
adcc-onnx compare-models net.onnx int8.onnx --images photos/ --fail-over 0.02
"""


@new_command("compare-models", _EXAMPLE)
@click.argument("first", metavar="FIRST.onnx", shell_complete=complete_files)
@click.argument("second", metavar="SECOND.onnx", shell_complete=complete_files)
@source_options()
@methods_option(
    help="Method with its options; repeat it for several.  [default: gradcam, gradcam++, "
    "xgradcam, layercam and hirescam]"
)
@metrics_option("Metric with its options; repeat it for several.  [default: ADCC and its parts]")
@option(
    "--protocol",
    heading="Methods and metrics",
    default="poppi2021",
    metavar="poppi2021|openvino",
    help="Protocol: whether masks multiply the input tensor or the raw image.",
)
@target_option()
@seed_option
@option(
    "--fail-over",
    heading="Gate",
    type=click.FloatRange(min=0),
    metavar="X",
    help="Exit with status 3 if a score, the maps, the probability or the predictions differ by "
    "more than this fraction.",
)
@option(
    "--confidence",
    heading="Statistics",
    default=0.95,
    type=click.FloatRange(0.5, 0.99),
    metavar="P",
    help="Confidence level of all intervals together.",
)
@model_options
@out_option("File for the report, in UTF-8.  [default: standard output]")
@force_option("Replace an existing file.")
@json_option
def command(
    first: str,
    second: str,
    source: SourceOptions,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    protocol: str,
    target: str,
    seed: int,
    fail_over: float | None,
    confidence: float,
    model_options: ModelOptions,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare two models of one task, layer by layer.

    The models are exports of one network, or a model and its quantized, pruned or optimized form.
    Outputs, activations, gradients, maps and scores are compared on the same images, and the first
    layer at which the graphs diverge is named. Models that differ by rounding alone give one line.
    """
    from adcc_onnx.api.comparing import compare_models
    from adcc_onnx.api.reports import save_report
    from adcc_onnx.report.model_comparison_report import comparison_to_json, comparison_to_text
    from adcc_onnx.report.table_layout import PLAIN
    from adcc_onnx.report.text_file import check_text_file

    models = [Path(first), Path(second)]
    if out is not None:
        check_text_file(out, force, models)
    found = compare_models(
        first, second, source.images, methods, metrics,
        target=target, protocol=protocol, labels=source.labels, truth=source.truth,
        limit=source.limit, sample=source.sample, cache_crops=source.cache_crops, seed=seed,
        confidence=confidence, bar=progress_bar, notify=notice, graceful=graceful,
        **model_options,
    )  # fmt: skip
    display = terminal_display() if out is None else PLAIN
    text = comparison_to_json(found, fail_over) if as_json else comparison_to_text(found, display)
    if out is None:
        show(text)
    else:
        save_report(text, out, force=force, runs=models)
    if found.interrupted:
        stop(f"interrupted; {found.images} of {found.planned} images were compared", _INTERRUPTED)
    if fail_over is not None:
        exceeding = found.exceeding(fail_over)
        for line in exceeding:
            tell("warning", line)
        if exceeding:
            stop(f"{len(exceeding)} differences are larger than {fail_over:g}", _FAILED)
        if found.notes:
            stop("not everything could be compared, so the models did not pass", 1)
