"""The options of `adcc-onnx report` for tables in papers and for gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from adcc_onnx.cli.grouped_command import option, with_options
from adcc_onnx.cli.messages import notice, stop
from adcc_onnx.cli.shared_options import FILE

_FAILED = 3  # exit status
_GATE = "Gate"


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    """Split names at commas outside of brackets."""
    from adcc_onnx.options import split_names

    return [] if value is None else split_names(value)


_TABLE_OPTIONS = [
    option(
        "--columns",
        heading="Output",
        metavar="METRIC,...",
        callback=_names,
        help="Columns of a LaTeX or Markdown table.  [default: all metrics]",
    ),
    option(
        "--caption",
        heading="Output",
        default="",
        show_default=False,
        metavar="TEXT",
        help="Caption of a LaTeX or Markdown table, copied unchanged.",
    ),
    option(
        "--label",
        heading="Output",
        default="",
        show_default=False,
        metavar="NAME",
        help="Label of a LaTeX table.",
    ),
]
_GATE_OPTIONS = [
    option(
        "--require",
        heading=_GATE,
        multiple=True,
        metavar="EXPRESSION",
        help='Bound on a score, such as "gradcam.adcc >= 0.70"; repeatable. The exit status '
        "is 3 if it does not hold.",
    ),
    option(
        "--not-worse-than",
        heading=_GATE,
        type=FILE,
        metavar="BASE.sqlite",
        help="Baseline run. The exit status is 3 if a method is significantly worse than in it, "
        "paired by image, in ADCC or the metric of --by.",
    ),
    option(
        "--margin",
        heading=_GATE,
        default=0.0,
        type=click.FloatRange(min=0),
        metavar="X",
        help="Loss against the baseline run that is accepted, as a fraction.",
    ),
    option(
        "--junit",
        heading=_GATE,
        type=FILE,
        metavar="FILE.xml",
        help="JUnit XML file for the outcome of --require and --not-worse-than.",
    ),
]


def table_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of tables for papers."""
    return with_options(callback, _TABLE_OPTIONS)


def gate_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the gate."""
    return with_options(callback, _GATE_OPTIONS)


def check_gate(
    runs: Sequence[Path],
    require: Sequence[str],
    not_worse_than: Path | None,
    junit: Path | None,
    **settings: Any,
) -> None:
    """Check the gate of a report, if it has one; exit with status 3 if a check fails.

    Args:
        runs: The files of the runs.
        require: The bounds on scores.
        not_worse_than: The file of the baseline run.
        junit: The file for the outcome.
        **settings: Further settings of `adcc_onnx.gate`.
    """
    from adcc_onnx.api.gating import gate

    if not require and not_worse_than is None:
        if settings["margin"] or junit is not None:
            raise click.UsageError("--margin and --junit need --require or --not-worse-than")
        return
    found = gate(runs, require=require, not_worse_than=not_worse_than, junit=junit, **settings)
    for line in found.lines:
        notice(line)
    if not found.passed:
        stop(f"{len(found.failures)} of {len(found.lines)} checks failed", _FAILED)
