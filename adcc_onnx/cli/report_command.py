"""The command `adcc-onnx report`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import show, show_document, terminal_display
from adcc_onnx.cli.report_options import check_gate, gate_options, table_options
from adcc_onnx.cli.shared_options import FILE, force_option, out_option

_EXAMPLE = """
adcc-onnx report run.sqlite --format csv -o table.csv
adcc-onnx report vit.sqlite resnet.sqlite --compare --by insertion
adcc-onnx report run.sqlite --require "gradcam.adcc >= 0.70" --junit gate.xml
"""


@new_command("report", _EXAMPLE)
@click.argument("runs", nargs=-1, required=True, type=FILE, metavar="RUN.sqlite...")
@option("--compare", heading="Report", is_flag=True, help="Compare all methods with the best one.")
@option(
    "--by",
    heading="Report",
    metavar="METRIC",
    help="Metric of --compare or --not-worse-than.  [default: adcc]",
)
@option("--failures", heading="Report", is_flag=True, help="List all failures with their reasons.")
@option(
    "--per-image",
    heading="Report",
    is_flag=True,
    help="Print the values of every image (formats csv and json).",
)
@gate_options
@option(
    "--confidence",
    heading="Statistics",
    default=0.95,
    type=click.FloatRange(0.5, 0.99),
    metavar="P",
    help="Confidence level of intervals and tests.",
)
@option(
    "--seed",
    heading="Statistics",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="Random seed for the bootstrap.",
)
@option(
    "--format",
    heading="Output",
    default="table",
    type=click.Choice(["table", "csv", "json", "html", "latex", "markdown"]),
    help="Format of the report; comparisons and failures have table, csv and json.",
)
@table_options
@out_option("File for the report, in UTF-8.  [default: standard output]")
@force_option("Replace an existing file; a run is never replaced.")
def command(
    runs: tuple[Path, ...],
    compare: bool,
    by: str | None,
    failures: bool,
    per_image: bool,
    require: tuple[str, ...],
    not_worse_than: Path | None,
    margin: float,
    junit: Path | None,
    confidence: float,
    seed: int,
    format: str,
    columns: list[str],
    caption: str,
    label: str,
    out: Path | None,
    force: bool,
) -> None:
    """Print the results of stored runs.

    Every score has a bootstrap confidence interval, and methods that are not significantly
    different from the best one are marked. One of --compare, --failures and --per-image prints
    another report instead. With --require or --not-worse-than, the exit status is 3 if a check
    fails.
    """
    from adcc_onnx.api.reports import render_report, save_report
    from adcc_onnx.report.table_layout import PLAIN
    from adcc_onnx.report.text_file import check_text_file

    if sum((compare, failures, per_image)) > 1:
        raise click.UsageError("--compare, --failures and --per-image exclude each other")
    if by is not None and not compare and not_worse_than is None:
        raise click.UsageError("--by is the metric of --compare or --not-worse-than: give both")
    if out is not None:
        check_text_file(out, force, runs)
    display = terminal_display() if out is None else PLAIN
    text = render_report(
        runs, format=format, compare=compare, by=by if compare else None, failures=failures,
        per_image=per_image, columns=columns, caption=caption, label=label, **vars(display),
        confidence=confidence, seed=seed,
    )  # fmt: skip
    if out is not None:
        save_report(text, out, force=force, runs=runs)
    elif format == "html":
        show_document(text)
    else:
        show(text)
    check_gate(
        runs, require, not_worse_than, junit,
        margin=margin, by=None if not_worse_than is None else by, confidence=confidence, seed=seed,
    )  # fmt: skip
