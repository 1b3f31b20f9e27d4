"""Comparisons of methods as tables for people, as CSV and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from adcc_onnx.report.csv_format import csv_text
from adcc_onnx.report.json_format import json_text, resampling_record
from adcc_onnx.report.result_rows import sample_size_notes
from adcc_onnx.report.rounding import rounded, rounded_all
from adcc_onnx.report.score_text import column_heading, format_interval, format_score, score_title
from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines, text_lines
from adcc_onnx.results.comparison import Comparison

_CSV_COLUMNS = (
    "runs", "by", "method", "score", "images", "difference", "difference_low", "difference_high",
    "p_value", "images_for_one_point",
)  # fmt: skip

_EARLY = (
    "A run stopped early (--until), so these tests and intervals, which assume a fixed number of "
    "images, are too optimistic: use the verdicts of `adcc-onnx report` without --compare."
)

_UNCORRECTED = (
    "These are scores in the cheaper precision: `adcc-onnx report` without --compare shows those "
    "that the anchors correct."
)


def comparisons_to_table(found: Sequence[Comparison], display: Display = PLAIN) -> str:
    """Write one block per comparison: differences, interval widths, agreement of the metrics.

    Args:
        found: The comparisons.
        display: Where the text is shown.
    """
    blocks = ("".join(f"{line}\n" for line in _block(one, display)) for one in found)
    return "\n".join(blocks)


def comparisons_to_csv(found: Sequence[Comparison]) -> str:
    """Write one row per method of each comparison, the best first; fractions in [0, 1]."""
    return csv_text(
        _CSV_COLUMNS, (_csv_row(one, name) for one in found for name in one.ranking.rows)
    )


def comparisons_to_json(found: Sequence[Comparison]) -> str:
    """Write all comparisons; fractions in [0, 1], null where a number does not exist."""
    return json_text({"comparisons": [_record(one) for one in found]})


def _block(one: Comparison, display: Display) -> Iterator[str]:
    ranking = one.ranking
    heading = column_heading(ranking.score)
    yield from text_lines([f"{one.title} · compared by {heading}"], display, "title")
    yield from table_lines(_difference_table(one, heading), display)
    legend = [
        f"difference: from the best method, on the images that both have, with its "
        f"{100 * one.resampling.confidence:.3g} % confidence interval",
        "p-value: of the hypothesis of no difference (paired permutation test, Holm-corrected for "
        f"{ranking.pairs} pairs)",
    ]
    yield from text_lines(legend, display, "legend")
    images = max((found.images for found in one.differences.values()), default=0)
    if images:
        notes = sample_size_notes(ranking, images, one.resampling.confidence)
        yield from text_lines(notes, display, "warning")
    if one.early_stopping:
        yield from text_lines([_EARLY], display, "warning")
    if one.uncorrected:
        yield from text_lines([_UNCORRECTED], display, "warning")
    yield ""
    yield from table_lines(_width_table(one), display)
    if len(one.metrics) > 1:
        yield ""
        yield from table_lines(_agreement_table(one), display)


def _difference_table(one: Comparison, heading: str) -> Table:
    columns = [
        Column("method", left=True, names=True),
        Column(heading),
        Column("images", drop=1),
        Column("difference", left=True),
        Column("p-value"),
    ]
    names = one.ranking.rows
    styles = ["best" if name == one.ranking.best else "" for name in names]
    return Table(columns, [_difference_row(one, name) for name in names], styles)


def _difference_row(one: Comparison, name: str) -> list[str]:
    score = one.ranking.score
    value = format_score(score, _known(one.scores[name]))
    if name == one.ranking.best:
        return [name, value, "", "best", ""]
    if name not in one.differences:
        return [name, value, "0", "", ""]
    found, p_value = one.differences[name], one.ranking.p_values[name]
    difference = format_score(score, _known(found.value), "+")
    interval = format_interval(score, found.interval, "+")
    return [
        name,
        value,
        str(found.images),
        f"{difference} {interval}".strip(),
        "<0.001" if p_value < 0.001 else f"{p_value:.3f}",
    ]


def _width_table(one: Comparison) -> Table:
    score = one.ranking.score
    sizes = sorted({size for by_size in one.interval_widths.values() for size in by_size})
    header = ["confidence interval width", *(f"n = {size}" for size in sizes)]
    rows = [
        [name, *(format_score(score, by_size.get(size)) for size in sizes)]
        for name, by_size in one.interval_widths.items()
    ]
    if one.images_for_one_point:
        header.append("images for width 1.0")
        for row in rows:
            needed = one.images_for_one_point.get(row[0])
            row.append("-" if needed is None else f"about {needed}")
    return _numbers(header, rows)


def _agreement_table(one: Comparison) -> Table:
    titles = [score_title(score) for score in one.metrics.values()]
    rows = [
        [title, *("-" if math.isnan(tau) else f"{tau:+.2f}" for tau in row)]
        for title, row in zip(titles, one.agreement.tolist(), strict=True)
    ]
    return _numbers(["Kendall's tau of rankings", *titles], rows)


def _numbers(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of names and numbers, whose last columns may be left out."""
    columns = [Column(heading, left=not i, names=not i, drop=i) for i, heading in enumerate(header)]
    return Table(columns, rows)


def _csv_row(one: Comparison, name: str) -> dict[str, Any]:
    found = _difference_record(one, name)
    low, high = found.pop("difference_interval", None) or (None, None)
    return {
        "runs": one.title,
        "by": one.ranking.score.name,
        "method": name,
        **found,
        "difference_low": low,
        "difference_high": high,
        "images_for_one_point": one.images_for_one_point.get(name),
    }


def _record(one: Comparison) -> dict[str, Any]:
    names = list(one.metrics)
    return {
        "runs": one.title,
        "by": one.ranking.score.name,
        "best": one.ranking.best,
        "statistics": resampling_record(one.resampling),
        "methods": {name: _difference_record(one, name) for name in one.ranking.rows},
        "interval_widths": {
            name: {str(size): rounded(width) for size, width in by_size.items()}
            for name, by_size in one.interval_widths.items()
        },
        "images_for_one_point": one.images_for_one_point,
        "kendall_tau": {
            name: dict(zip(names, map(_known, row), strict=True))
            for name, row in zip(names, one.agreement.tolist(), strict=True)
        },
    }


def _difference_record(one: Comparison, name: str) -> dict[str, Any]:
    """Return the score of a method and its difference from the best."""
    found = one.differences.get(name)
    if found is None:
        return {"score": _known(one.scores[name])}
    return {
        "score": _known(one.scores[name]),
        "images": found.images,
        "difference": _known(found.value),
        "difference_interval": None if found.interval is None else rounded_all(found.interval),
        "p_value": one.ranking.p_values[name],
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
