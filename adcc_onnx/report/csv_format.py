"""Results as CSV: one row per run and method; fractions in [0, 1]."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adcc_onnx.report.rounding import rounded
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.evaluation_result import EvaluationResult, MethodResult

# The marks are empty where the number of images allows no significant difference.
_MARKS = ("is_control", "not_significantly_worse", "not_better_than_control")
# Only if a run has a stopping rule.
_STOPPING = ("verdict", "images_of_method", "images_of_dataset")
_COUNTS = ("images", "failed", "degenerate", "failed_by_method")
# Spreadsheets take text that begins with one of these for a formula; the last four are full-width.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def results_to_csv(results: Sequence[EvaluationResult]) -> str:
    """Write a header and all results; a score or interval that a run lacks is an empty cell."""
    methods = [method for result in results for method in result.methods.values()]
    scores = dict.fromkeys(name for method in methods for name in method.scores)
    columns = [column for name in scores for column in (name, f"{name}_low", f"{name}_high")]
    rows = (
        {
            "model": result.model,
            "protocol": result.protocol,
            "method": name,
            **_scores(method),
            "images": result.images,
            "failed": result.failed,
            "degenerate": method.degenerate,
            "failed_by_method": method.failed,
            **_marks(result, name),
            **_stopping(result, name),
        }
        for result in results
        for name, method in result.methods.items()
    )
    marks = [*_MARKS, *(_STOPPING if any(result.sequential for result in results) else ())]
    return csv_text(["model", "protocol", "method", *columns, *_COUNTS, *marks], rows)


def _marks(result: EvaluationResult, name: str) -> dict[str, bool | None]:
    """Return whether a method is a control, and how it compares with the best one and a control."""
    close, doubtful = result.not_significantly_worse, result.not_better_than_control
    control = name in result.stored_run.controls
    return {
        "is_control": control,
        "not_significantly_worse": None if close is None else name in close,
        "not_better_than_control": None if doubtful is None or control else name in doubtful,
    }


def _stopping(result: EvaluationResult, name: str) -> dict[str, Any]:
    """Return what is certain of a method, and on how many images it was computed."""
    found = result.sequential
    if found is None:
        return {}
    values = found.standings[name].verdict, found.standings[name].images, found.population
    return dict(zip(_STOPPING, values, strict=True))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write a header and rows.

    Args:
        columns: Names of the columns.
        rows: Values by column; None and absent values give empty cells.

    Returns:
        CSV whose text cells hold no control characters and no formulas.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writerow({name: _defused(name) for name in columns})
    for row in rows:
        writer.writerow({k: _defused(v) if isinstance(v, str) else v for k, v in row.items()})
    return text.getvalue()


def _defused(text: str) -> str:
    """Write out control characters, and put an apostrophe before what looks like a formula."""
    return f"'{safe(text)}" if text.startswith(_FORMULA_SIGNS) else safe(text)


def _scores(method: MethodResult) -> dict[str, float]:
    ends = {
        f"{name}_{end}": rounded(value)
        for name, interval in method.intervals.items()
        for end, value in zip(("low", "high"), interval, strict=True)
    }
    return {**method.scores, **ends}
