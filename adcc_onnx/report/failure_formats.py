"""Failures as a table for people, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.csv_format import csv_text
from adcc_onnx.report.json_format import json_text
from adcc_onnx.report.text_table import aligned_rows, printable_lines
from adcc_onnx.results.rows import StoredRun

_COLUMNS = ("model", "image", "method", "reason")


def failures_to_table(runs: Sequence[StoredRun]) -> str:
    """Write one line per failure; the failure of a whole image has no method."""
    rows = [[record[column] or "-" for column in _COLUMNS] for record in _records(runs)]
    if not rows:
        return "Nothing failed.\n"
    return printable_lines(aligned_rows([_COLUMNS, *rows], left=range(len(_COLUMNS))))


def failures_to_csv(runs: Sequence[StoredRun]) -> str:
    """Write a header and one row per failure."""
    return csv_text(_COLUMNS, _records(runs))


def failures_to_json(runs: Sequence[StoredRun]) -> str:
    """Write `{"failures": [...]}` with one record per failure."""
    return json_text({"failures": _records(runs)})


def _records(runs: Sequence[StoredRun]) -> list[dict[str, Any]]:
    return [
        {"model": run.config["model"], **vars(failure)} for run in runs for failure in run.failures
    ]
