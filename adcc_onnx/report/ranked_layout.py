"""The ranked table of a run with what a terminal needs to fit and color it."""

from __future__ import annotations

from adcc_onnx.report.result_rows import ranked_table, shown_counts
from adcc_onnx.report.score_text import column_heading
from adcc_onnx.report.sequential_text import IMAGES, VERDICT
from adcc_onnx.report.table_layout import Column, Table
from adcc_onnx.results.evaluation_result import EvaluationResult


def ranked_layout(result: EvaluationResult) -> Table:
    """Return the table of a run: the methods, the best first, and then the controls.

    A narrow terminal leaves out the time first, then the scores from the last one to the first one,
    and never the score that ranks the methods.

    Args:
        result: The result of the run.
    """
    table, ranking = ranked_table(result), result.ranking
    counts = [*shown_counts(result), IMAGES]
    kept = {"method", VERDICT} | (set() if ranking is None else {column_heading(ranking.score)})
    columns = [
        Column(
            heading,
            left=not i or heading == VERDICT,
            names=not i,
            drop=_drop(heading, i, kept, counts),
        )
        for i, heading in enumerate(table.header)
    ]
    second = len(table.methods) if table.controls else None
    return Table(
        columns,
        [*table.methods, *table.controls],
        [_style(result, name) for name in result.rows],
        second,
    )


def _drop(heading: str, number: int, kept: set[str], counts: list[str]) -> int:
    if heading in kept:
        return 0
    return 1 if heading in counts else number + 1


def _style(result: EvaluationResult, name: str) -> str:
    ranking = result.ranking
    if ranking is None:
        return ""
    if name in ranking.controls:
        return "control"
    if name in (result.not_better_than_control or ()):
        return "doubtful"
    if name == ranking.best:
        return "best"
    return "tied" if name in (result.not_significantly_worse or ()) else ""
