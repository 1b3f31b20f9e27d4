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
from adcc_onnx.report.text_table import aligned_rows, printable_lines
from adcc_onnx.results.comparison import Comparison

_CSV_COLUMNS = (
    "runs", "by", "method", "score", "images", "difference", "difference_low", "difference_high",
    "p_value", "images_for_one_point",
)  # fmt: skip


def comparisons_to_table(found: Sequence[Comparison]) -> str:
    """Write one block per comparison: differences, interval widths, agreement of the metrics."""
    return "\n".join(printable_lines(_block(one)) for one in found)


def comparisons_to_csv(found: Sequence[Comparison]) -> str:
    """Write one row per method of each comparison, the best first; fractions in [0, 1]."""
    return csv_text(
        _CSV_COLUMNS, (_csv_row(one, name) for one in found for name in one.ranking.rows)
    )


def comparisons_to_json(found: Sequence[Comparison]) -> str:
    """Write all comparisons; fractions in [0, 1], null where a number does not exist."""
    return json_text({"comparisons": [_record(one) for one in found]})


def _block(one: Comparison) -> Iterator[str]:
    ranking = one.ranking
    heading = column_heading(ranking.score)
    yield f"{one.title} · compared by {heading}"
    yield from aligned_rows(
        [
            ["method", heading, "images", "difference", "p-value"],
            *(_difference_row(one, name) for name in ranking.rows),
        ],
        left=(0, 3),
    )
    yield (
        f"difference: from the best method, on the images that both have, with its "
        f"{100 * one.resampling.confidence:.3g} % confidence interval"
    )
    yield (
        "p-value: of the hypothesis of no difference (paired permutation test, Holm-corrected for "
        f"{ranking.pairs} pairs)"
    )
    images = max((found.images for found in one.differences.values()), default=0)
    if images:
        yield from sample_size_notes(ranking, images, one.resampling.confidence)
    yield ""
    yield from _width_rows(one)
    if len(one.metrics) > 1:
        yield ""
        yield from _agreement_rows(one)


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


def _width_rows(one: Comparison) -> list[str]:
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
    return aligned_rows([header, *rows], left=(0,))


def _agreement_rows(one: Comparison) -> list[str]:
    titles = [score_title(score) for score in one.metrics.values()]
    rows = [
        [title, *("-" if math.isnan(tau) else f"{tau:+.2f}" for tau in row)]
        for title, row in zip(titles, one.agreement.tolist(), strict=True)
    ]
    return aligned_rows([["Kendall's tau of rankings", *titles], *rows], left=(0,))


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
