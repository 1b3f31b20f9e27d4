"""CSV: one row a run and method; fractions in [0, 1]."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adcc_onnx.report.rounding import rounded
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.summary import MethodSummary, RunSummary

_COUNTS = ("images", "failed", "degenerate", "failed_by_method")


def to_csv(runs: Sequence[RunSummary]) -> str:
    """All runs, with a header; a figure or interval that a run lacks stays empty."""
    methods = [method for run in runs for method in run.methods.values()]
    scores = dict.fromkeys(name for method in methods for name in method.scores)
    columns = [column for name in scores for column in (name, f"{name}_low", f"{name}_high")]
    rows = (
        {
            "model": run.model,
            "protocol": run.protocol,
            "method": name,
            **_scores(method),
            **dict(
                zip(
                    _COUNTS, (run.images, run.failed, method.degenerate, method.failed), strict=True
                )
            ),
        }
        for run in runs
        for name, method in run.methods.items()
    )
    return written(["model", "protocol", "method", *columns, *_COUNTS], rows)


def written(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header and rows; texts are safe to print."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: safe(v) if isinstance(v, str) else v for k, v in row.items()})
    return text.getvalue()


def _scores(method: MethodSummary) -> dict[str, float]:
    ends = {
        f"{name}_{end}": rounded(value)
        for name, interval in method.intervals.items()
        for end, value in zip(("low", "high"), interval, strict=True)
    }
    return {**method.scores, **ends}
