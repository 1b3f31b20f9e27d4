"""Comparisons as tables for people, as CSV and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from adcc_onnx.report.csv_format import written
from adcc_onnx.report.json_format import as_text, resampling_record
from adcc_onnx.report.rounding import rounded, rounded_all
from adcc_onnx.report.text_table import aligned_rows, lines
from adcc_onnx.results.comparison import Comparison

_CSV_COLUMNS = (
    "runs", "by", "method", "score", "images", "difference", "difference_low", "difference_high",
    "p", "images_for_one_point",
)  # fmt: skip


def comparisons_to_table(found: Sequence[Comparison]) -> str:
    """One block a comparison: differences, interval widths, agreement of the metrics."""
    return "\n".join(lines(_block(one)) for one in found)


def comparisons_to_csv(found: Sequence[Comparison]) -> str:
    """One row a method of each comparison, the best first; fractions in [0, 1]."""
    return written(
        _CSV_COLUMNS, (_csv_row(one, name) for one in found for name in one.ranking.order)
    )


def comparisons_to_json(found: Sequence[Comparison]) -> str:
    """All comparisons; fractions in [0, 1], null where there is no number."""
    return as_text({"comparisons": [_record(one) for one in found]})


def _block(one: Comparison) -> Iterator[str]:
    ranking = one.ranking
    yield f"{one.title} · compared by {ranking.score.head}"
    yield from aligned_rows(
        [
            ["method", ranking.score.head, "images", "difference", "p"],
            *(_difference_row(one, name) for name in ranking.order),
        ],
        left=(0, 3),
    )
    pairs = len(ranking.p) * (len(ranking.p) + 1) // 2
    yield (
        f"difference: from the best, on the images both have, with its "
        f"{100 * one.resampling.confidence:.3g} % interval"
    )
    yield f"p: of no difference (paired permutation test, corrected by Holm for {pairs} pairs)"
    yield ""
    yield from _width_rows(one)
    if len(one.metrics) > 1:
        yield ""
        yield from _agreement_rows(one)


def _difference_row(one: Comparison, name: str) -> list[str]:
    score = one.ranking.score
    value = score.shown(_known(one.scores[name]))
    if name == one.ranking.best:
        return [name, value, "", "best", ""]
    if name not in one.differences:
        return [name, value, "0", "", ""]
    found, p = one.differences[name], one.ranking.p[name]
    shown = f"{score.shown(_known(found.value), '+')} {score.shown_interval(found.interval, '+')}"
    return [name, value, str(found.images), shown.strip(), "<0.001" if p < 0.001 else f"{p:.3f}"]


def _width_rows(one: Comparison) -> list[str]:
    score = one.ranking.score
    sizes = sorted({size for by_size in one.widths.values() for size in by_size})
    header = ["width of the interval", *(f"n = {size}" for size in sizes)]
    if one.enough:
        header.append("1.0 needs about")
    rows = [
        [
            name,
            *(score.shown(by_size.get(size)) for size in sizes),
            *([f"n = {one.enough[name]}" if name in one.enough else "-"] if one.enough else []),
        ]
        for name, by_size in one.widths.items()
    ]
    return aligned_rows([header, *rows], left=(0,))


def _agreement_rows(one: Comparison) -> list[str]:
    titles = [score.title for score in one.metrics.values()]
    rows = [
        [title, *("-" if math.isnan(tau) else f"{tau:+.2f}" for tau in row)]
        for title, row in zip(titles, one.agreement.tolist(), strict=True)
    ]
    return aligned_rows([["Kendall's tau of rankings", *titles], *rows], left=(0,))


def _csv_row(one: Comparison, name: str) -> dict[str, Any]:
    found = _versus(one, name)
    low, high = found.pop("difference_interval", None) or (None, None)
    return {
        "runs": one.title,
        "by": one.ranking.score.name,
        "method": name,
        **found,
        "difference_low": low,
        "difference_high": high,
        "images_for_one_point": one.enough.get(name),
    }


def _record(one: Comparison) -> dict[str, Any]:
    names = list(one.metrics)
    return {
        "runs": one.title,
        "by": one.ranking.score.name,
        "best": one.ranking.best,
        "statistics": resampling_record(one.resampling),
        "methods": {name: _versus(one, name) for name in one.ranking.order},
        "widths": {
            name: {str(size): rounded(width) for size, width in by_size.items()}
            for name, by_size in one.widths.items()
        },
        "images_for_one_point": one.enough,
        "kendall_tau": {
            name: dict(zip(names, map(_known, row), strict=True))
            for name, row in zip(names, one.agreement.tolist(), strict=True)
        },
    }


def _versus(one: Comparison, name: str) -> dict[str, Any]:
    """The figure, and how it differs from the best."""
    found = one.differences.get(name)
    if found is None:
        return {"score": _known(one.scores[name])}
    return {
        "score": _known(one.scores[name]),
        "images": found.images,
        "difference": _known(found.value),
        "difference_interval": None if found.interval is None else rounded_all(found.interval),
        "p": one.ranking.p[name],
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
