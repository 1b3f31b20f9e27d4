"""Per-image values as CSV and as JSON: one row per image and method; fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.csv_format import csv_text
from adcc_onnx.report.json_format import json_text
from adcc_onnx.results.evaluation_result import EvaluationResult

_LAST = ("degenerate", "failure")


def per_image_to_csv(results: Sequence[EvaluationResult]) -> str:
    """Write all results as one CSV table.

    Args:
        results: Results of evaluations.

    Returns:
        A header and one row per image and method; a value that does not exist is an empty cell.
        Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    rows = [{"model": result.model, **row} for result in results for row in _rows(result)]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [*(name for name in names if name not in _LAST), *(n for n in _LAST if n in names)]
    return csv_text(columns or ["model"], rows)


def per_image_to_json(results: Sequence[EvaluationResult]) -> str:
    """Write all results as JSON.

    Args:
        results: Results of evaluations.

    Returns:
        `{"runs": [{"model": ..., "per_image": [...]}]}` with one record per image and method;
        null where a value does not exist.
    """
    return json_text(
        {"runs": [{"model": result.model, "per_image": _rows(result)} for result in results]}
    )


def _rows(result: EvaluationResult) -> list[dict[str, Any]]:
    return result.per_image(as_dataframe=False)
