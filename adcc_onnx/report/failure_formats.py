"""Failures as a table for people, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.csv_format import csv_text
from adcc_onnx.report.json_format import json_text
from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines
from adcc_onnx.results.rows import StoredRun

_COLUMNS = ("model", "image", "method", "reason")


def failures_to_table(runs: Sequence[StoredRun], display: Display = PLAIN) -> str:
    """Write one line per failure; the failure of a whole image has no method."""
    rows = [[record[column] or "-" for column in _COLUMNS] for record in _records(runs)]
    if not rows:
        return "Nothing failed.\n"
    columns = [
        Column("model", left=True, names=True, drop=1),
        Column("image", left=True, names=True),
        Column("method", left=True, names=True),
        Column("reason", left=True, prose=True),
    ]
    return "".join(f"{line}\n" for line in table_lines(Table(columns, rows), display))


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
