"""Runs as a table for people, as CSV and as JSON."""

from __future__ import annotations

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.evaluation.store import Store

FORMATS = ("table", "csv", "json")


def render(store: Store, style: str) -> str:
    """All runs of a store as text, ending in a newline.

    Raises:
        OptionError: `style` is none of `FORMATS`.
    """
    from adcc_onnx.report.as_csv import to_csv
    from adcc_onnx.report.as_json import to_json
    from adcc_onnx.report.as_table import to_table
    from adcc_onnx.report.summary import summarise

    writers = {"table": to_table, "csv": to_csv, "json": to_json}
    if style not in writers:
        raise OptionError(f"no format '{style}'{did_you_mean(style, FORMATS)}")
    return writers[style]([summarise(run) for run in store.runs()])
