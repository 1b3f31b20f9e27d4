"""Entry points of all reports: results in, text in the requested format out."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from adcc_onnx.report import FORMATS, _writer, render, render_comparison, render_failures
from adcc_onnx.report.csv_format import to_csv
from adcc_onnx.report.html_format import to_html
from adcc_onnx.report.json_format import to_json
from adcc_onnx.report.latex_format import to_latex
from adcc_onnx.report.text_table import to_table
from adcc_onnx.results.store import Store
from adcc_onnx.results.summary import RunSummary, summaries
from adcc_onnx.statistics.resampling import Resampling

__all__ = [
    "render",
    "render_comparison",
    "render_failures",
    "render_per_image",
    "render_results",
]


def render_results(results: Sequence[RunSummary], style: str) -> str:
    """Render results of evaluations."""
    writers = (to_table, to_csv, to_json, to_html, to_latex)
    return _writer("runs", dict(zip(FORMATS, writers, strict=True)), style)(results)


def render_per_image(
    stores: Sequence[Store], style: str, resampling: Resampling | None = None
) -> str:
    """Render the values of every image under every method."""
    formats = importlib.import_module("adcc_onnx.report.per_image")
    writers = {"csv": formats.per_image_to_csv, "json": formats.per_image_to_json}
    results = [result for store in stores for result in summaries(store, resampling)]
    return _writer("per-image values", writers, style)(results)
