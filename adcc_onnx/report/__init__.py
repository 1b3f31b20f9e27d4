"""Runs, comparisons and failures, as text in the format asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from adcc_onnx.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from adcc_onnx.results.store import Store
    from adcc_onnx.statistics.resampling import Resampling

FORMATS = ("table", "csv", "json", "html", "latex")

_Loaded = TypeVar("_Loaded")


def render(stores: Sequence[Store], style: str, resampling: Resampling | None = None) -> str:
    """All runs of some stores as text, ending in a newline.

    Args:
        stores: hold the runs.
        style: one of `FORMATS`.
        resampling: how intervals and tests are made.

    Raises:
        OptionError: there is no such format.
    """
    from adcc_onnx.report.csv_format import to_csv
    from adcc_onnx.report.html_format import to_html
    from adcc_onnx.report.json_format import to_json
    from adcc_onnx.report.latex_format import to_latex
    from adcc_onnx.report.text_table import to_table
    from adcc_onnx.results.summary import summaries

    writers = dict(zip(FORMATS, (to_table, to_csv, to_json, to_html, to_latex), strict=True))
    write = _writer("runs", writers, style)
    return write([run for store in stores for run in summaries(store, resampling)])


def render_comparison(
    stores: Sequence[Store],
    style: str,
    by: str | None = None,
    resampling: Resampling | None = None,
) -> str:
    """The methods of some stores' runs against the best; see `comparison.comparisons`."""
    from adcc_onnx.report import comparison_formats as formats
    from adcc_onnx.results.comparison import comparisons

    writers = {
        "table": formats.comparisons_to_table,
        "csv": formats.comparisons_to_csv,
        "json": formats.comparisons_to_json,
    }
    return _writer("comparisons", writers, style)(comparisons(stores, by, resampling))


def render_failures(stores: Sequence[Store], style: str) -> str:
    """Every failure of some stores' runs, and why.

    Raises:
        OptionError: there is no such format.
    """
    from adcc_onnx.report import failures

    writers = {
        "table": failures.failures_to_table,
        "csv": failures.failures_to_csv,
        "json": failures.failures_to_json,
    }
    write = _writer("failures", writers, style)
    return write([run for store in stores for run in store.runs()])


def _writer(
    what: str, writers: Mapping[str, Callable[[Sequence[_Loaded]], str]], style: str
) -> Callable[[Sequence[_Loaded]], str]:
    if style not in writers:
        raise OptionError(
            f"{what} have no format '{style}'{did_you_mean(style, writers)} "
            f"(formats: {', '.join(writers)})"
        )
    return writers[style]
