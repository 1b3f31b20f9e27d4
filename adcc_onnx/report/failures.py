"""Every failure of some runs: as a table for people, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.csv_format import written
from adcc_onnx.report.json_format import as_text
from adcc_onnx.report.text_table import aligned_rows, lines
from adcc_onnx.results.store import StoredRun

_COLUMNS = ("model", "image", "method", "reason")


def failures_to_table(runs: Sequence[StoredRun]) -> str:
    """A line a failure; a failure of a whole image has no method."""
    rows = [[record[column] or "-" for column in _COLUMNS] for record in _records(runs)]
    if not rows:
        return "Nothing failed.\n"
    return lines(aligned_rows([_COLUMNS, *rows], left=range(len(_COLUMNS))))


def failures_to_csv(runs: Sequence[StoredRun]) -> str:
    return written(_COLUMNS, _records(runs))


def failures_to_json(runs: Sequence[StoredRun]) -> str:
    return as_text({"failures": _records(runs)})


def _records(runs: Sequence[StoredRun]) -> list[dict[str, Any]]:
    return [
        {"model": run.config["model"], **vars(failure)} for run in runs for failure in run.failures
    ]
