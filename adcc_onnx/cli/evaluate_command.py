"""The command `adcc-onnx evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.completion import complete_files
from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.interruption import graceful
from adcc_onnx.cli.kept_runs import resume_hint, tell_kept
from adcc_onnx.cli.messages import notice, show, stop, terminal_display
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import model_options, out_option, plan_options, source_options
from adcc_onnx.errors import first_reasons
from adcc_onnx.evaluation.run_options import ModelOptions, PlanOptions, SourceOptions

_EXAMPLE = """
adcc-onnx evaluate net.onnx --images photos/ --preprocess torch -o run.sqlite
adcc-onnx evaluate net.onnx --images photos/ --method gradcam --metric adcc
"""


@new_command("evaluate", _EXAMPLE)
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_files
)
@source_options()
@plan_options
@model_options
@option(
    "--cluster",
    heading="Device",
    metavar="HOST:PORT|local[:N]",
    help="Ray cluster whose machines run the model, or N processes of this machine.",
)
@out_option("SQLite file that keeps the run.  [default: a file in the cache folder]")
@option("--resume", heading="Output", is_flag=True, help="Continue the run in the --out file.")
@option(
    "--budget",
    heading="Cost",
    metavar="TIME",
    help="Time that the evaluation may take, such as 30m. To keep to it, methods with many passes "
    "get fewer of them; then the precision becomes cheaper; then the run stops early or takes "
    "fewer images.",
)
@option(
    "--dry-run",
    heading="Cost",
    is_flag=True,
    help="Print passes, expected time, memory and cheaper options, and evaluate nothing.",
)
@option("--strict", heading="Output", is_flag=True, help="Exit with status 1 if any image failed.")
def command(
    models: tuple[str, ...],
    source: SourceOptions,
    plan: PlanOptions,
    model_options: ModelOptions,
    cluster: str | None,
    out: Path | None,
    resume: bool,
    budget: str | None,
    dry_run: bool,
    strict: bool,
) -> None:
    """Score methods on images and print the ranked table.

    Every method explains every image, and every metric scores every map. The table ranks the
    methods by ADCC with confidence intervals. An interrupted run can be continued by --resume, and
    `adcc-onnx report` prints it in other formats. The exit status is 1 if no image was scored.
    """
    if dry_run:
        _show_costs(models, source, plan, model_options, budget)
        return
    from adcc_onnx.api.evaluating import evaluate_models
    from adcc_onnx.api.reports import render_report
    from adcc_onnx.runtime.cache_folder import new_cached_run

    if resume and out is None:
        raise click.UsageError("--resume needs the file of the run to continue: -o RUN.sqlite")
    kept = new_cached_run() if out is None else out
    with resume_hint(kept, named=out is not None):
        results = evaluate_models(
            models, source, plan, model_options,
            out=kept, resume=resume, cluster=cluster, budget=budget, bar=progress_bar,
            notify=notice, graceful=graceful,
        )  # fmt: skip
    try:
        show(render_report(results, **vars(terminal_display())))
    finally:  # What was computed is not lost if it cannot be printed.
        tell_kept(kept, out)
    for result in results:
        if not result.scored:
            reasons = first_reasons(failure.reason for failure in result.failures)
            stop(f"{result.model}: no image was scored: {reasons}", 1)
    failures = sum(len(result.failures) for result in results)
    if strict and failures:
        stop(f"{failures} failures, and --strict allows none: report --failures lists them", 1)


def _show_costs(
    models: tuple[str, ...],
    source: SourceOptions,
    plan: PlanOptions,
    model_options: ModelOptions,
    budget: str | None,
) -> None:
    """Print what an evaluation would take, and what a budget would choose."""
    from adcc_onnx.api.costs import estimated_models
    from adcc_onnx.report.cost_report import costs_to_text

    costs = estimated_models(models, source, plan, model_options, budget, notice)
    show(costs_to_text(costs, terminal_display()))
