"""Entry points of all reports: results in, text in the requested format out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.report.table_layout import PLAIN, Display

if TYPE_CHECKING:
    from adcc_onnx.report.paper_table import TableLayout
    from adcc_onnx.results.comparison import Comparison
    from adcc_onnx.results.evaluation_result import EvaluationResult
    from adcc_onnx.results.rows import StoredRun
    from adcc_onnx.results.store import Store
    from adcc_onnx.statistics.resampling import Resampling

FORMATS = ("table", "csv", "json", "html", "latex", "markdown")
PAPER_FORMATS = ("latex", "markdown")

_Result = TypeVar("_Result")


def render(
    stores: Sequence[Store],
    style: str,
    resampling: Resampling | None = None,
    layout: TableLayout | None = None,
    display: Display = PLAIN,
) -> str:
    """Render all runs of some stores.

    Args:
        stores: Stores that hold the runs.
        style: One of `FORMATS`.
        resampling: Settings of the confidence intervals and tests.
        layout: Columns, caption and label of the formats `PAPER_FORMATS`.
        display: Where a table is shown.

    Returns:
        Text that ends in a newline.

    Raises:
        OptionError: The format is unknown.
    """
    return render_results(_results(stores, resampling), style, layout, display)


def render_results(
    results: Sequence[EvaluationResult],
    style: str,
    layout: TableLayout | None = None,
    display: Display = PLAIN,
) -> str:
    """Render results of evaluations.

    Args:
        results: The results.
        style: One of `FORMATS`.
        layout: Columns, caption and label of the formats `PAPER_FORMATS`.
        display: Where a table is shown.

    Returns:
        Text that ends in a newline.

    Raises:
        OptionError: The format is unknown.
    """
    from adcc_onnx.report.csv_format import results_to_csv
    from adcc_onnx.report.html.page import results_to_html
    from adcc_onnx.report.json_format import results_to_json
    from adcc_onnx.report.latex_format import results_to_latex
    from adcc_onnx.report.markdown_format import results_to_markdown
    from adcc_onnx.report.text_table import results_to_table

    writers: dict[str, Callable[[Sequence[EvaluationResult]], str]] = {
        "table": partial(results_to_table, display=display),
        "csv": results_to_csv,
        "json": results_to_json,
        "html": results_to_html,
        "latex": partial(results_to_latex, layout=layout),
        "markdown": partial(results_to_markdown, layout=layout),
    }
    return _writer("runs", writers, style)(results)


def render_per_image(
    stores: Sequence[Store], style: str, resampling: Resampling | None = None
) -> str:
    """Render the values of every image under every method.

    Args:
        stores: Stores that hold the runs.
        style: "csv" or "json".
        resampling: Settings of the confidence intervals and tests, which per-image values ignore.

    Returns:
        Text that ends in a newline.

    Raises:
        OptionError: The format is unknown.
    """
    from adcc_onnx.report.per_image import per_image_to_csv, per_image_to_json

    writers = {"csv": per_image_to_csv, "json": per_image_to_json}
    return _writer("per-image values", writers, style)(_results(stores, resampling))


def render_comparison(
    stores: Sequence[Store],
    style: str,
    by: str | None = None,
    resampling: Resampling | None = None,
    display: Display = PLAIN,
) -> str:
    """Render the differences of all methods from the best one.

    Args:
        stores: Stores that hold the runs.
        style: "table", "csv" or "json".
        by: Score to compare by; None takes ADCC, or the first score without it.
        resampling: Settings of the confidence intervals and tests.
        display: Where a table is shown.

    Returns:
        Text that ends in a newline.

    Raises:
        OptionError: The format or the score is unknown.
        StoreError: The runs are not comparable.
    """
    from adcc_onnx.report import comparison_formats
    from adcc_onnx.results.comparison import compare_runs

    writers: dict[str, Callable[[Sequence[Comparison]], str]] = {
        "table": partial(comparison_formats.comparisons_to_table, display=display),
        "csv": comparison_formats.comparisons_to_csv,
        "json": comparison_formats.comparisons_to_json,
    }
    return _writer("comparisons", writers, style)(compare_runs(stores, by, resampling))


def render_failures(stores: Sequence[Store], style: str, display: Display = PLAIN) -> str:
    """Render every failure of the runs of some stores, with its reason.

    Args:
        stores: Stores that hold the runs.
        style: "table", "csv" or "json".
        display: Where a table is shown.

    Returns:
        Text that ends in a newline.

    Raises:
        OptionError: The format is unknown.
    """
    from adcc_onnx.report import failure_formats

    writers: dict[str, Callable[[Sequence[StoredRun]], str]] = {
        "table": partial(failure_formats.failures_to_table, display=display),
        "csv": failure_formats.failures_to_csv,
        "json": failure_formats.failures_to_json,
    }
    write = _writer("failures", writers, style)
    return write([run for store in stores for run in store.runs()])


def _results(stores: Sequence[Store], resampling: Resampling | None) -> list[EvaluationResult]:
    from adcc_onnx.results.evaluation_result import evaluation_results

    return [result for store in stores for result in evaluation_results(store, resampling)]


def _writer(
    what: str, writers: Mapping[str, Callable[[Sequence[_Result]], str]], style: str
) -> Callable[[Sequence[_Result]], str]:
    if style not in writers:
        raise OptionError(
            f"{what} have no format '{style}'{did_you_mean(style, writers)} "
            f"(formats: {', '.join(writers)})"
        )
    return writers[style]
