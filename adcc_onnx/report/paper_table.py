"""The table of papers and pull requests, before it becomes LaTeX or Markdown.

Unlike the table for the terminal it names methods by their titles, marks the best of every column,
and holds no times, so that equal runs give equal tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.errors import OptionError
from adcc_onnx.report.anchor_text import anchor_legend
from adcc_onnx.report.result_rows import doubts, headline, remarks
from adcc_onnx.report.score_text import column_heading, format_interval, format_score, score_title
from adcc_onnx.report.sequential_text import interval_text, test_text
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.score_columns import choose_columns, rank_by
from adcc_onnx.results.score_definitions import Score

TIE = "†"
LIKE_A_CONTROL = "‡"


@dataclass(frozen=True)
class TableLayout:
    """What a user chooses of a table.

    Attributes:
        columns: Names of the scores in the order of the columns; all scores if empty.
        caption: Caption in the language of the format, written as it is; empty for none.
        label: LaTeX label; empty for none.

    Raises:
        OptionError: The label holds other characters than letters, digits and `:._+/-`.
    """

    columns: Sequence[str] = ()
    caption: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9:._+/-]*", self.label):
            raise OptionError(
                f"label: '{self.label}' may hold only letters, digits and : . _ + / -"
            )


@dataclass(frozen=True)
class Cell:
    """One score of a table.

    Attributes:
        value: The score as text.
        interval: Its confidence interval as text; empty for none.
        marks: Its marks, `TIE` or `LIKE_A_CONTROL`, or both.
        best: Whether it is the best of its column.
    """

    value: str
    interval: str = ""
    marks: str = ""
    best: bool = False


@dataclass(frozen=True)
class PaperTable:
    """The table of one run.

    Attributes:
        model: Name of the model.
        settings: One line with the settings of the run.
        header: Headings of the columns.
        methods: Title and scores of each method, the best first.
        controls: Title and scores of each control, the best first.
        legend: Lines that explain the marks.
        warnings: Lines about doubts, few images, failures and an unfinished run.
    """

    model: str
    settings: str
    header: list[str]
    methods: list[tuple[str, list[Cell]]]
    controls: list[tuple[str, list[Cell]]]
    legend: list[str]
    warnings: list[str]


def paper_tables(results: Sequence[EvaluationResult], layout: TableLayout) -> list[PaperTable]:
    """Return the tables of some runs, all with the same columns.

    Args:
        results: The results.
        layout: What the user chose.

    Returns:
        One table per result.

    Raises:
        OptionError: A column does not exist.
    """
    columns = choose_columns(results, layout.columns)
    return [_table(result, list(columns.values())) for result in results]


def _table(result: EvaluationResult, columns: Sequence[Score]) -> PaperTable:
    rankings = {score.name: rank_by(result, score) for score in columns}
    order, _ = result.ranked
    rows = [
        (method_title(name), [_cell(result, name, s, rankings[s.name]) for s in columns])
        for name in result.rows
    ]
    legend = _legend(result, columns, rows, [r for r in rankings.values() if r is not None])
    return PaperTable(
        result.model,
        headline(result),
        ["Method", *(column_heading(score) for score in columns)],
        rows[: len(order)],
        rows[len(order) :],
        legend,
        [*doubts(result), *remarks(result)],
    )


def _cell(result: EvaluationResult, name: str, score: Score, ranking: Ranking | None) -> Cell:
    method, main = result.methods[name], result.ranking
    value = method.scores.get(score.name)
    if ranking is None or value is None:
        return Cell(format_score(score, value))
    confidence = result.resampling.confidence
    # Marks of a test that cannot find any difference would say nothing.
    testable = ranking.can_be_significant(result.scored, confidence)
    tie = testable and name in ranking.not_significantly_worse(confidence)
    is_main = main is not None and main.score.name == score.name
    doubtful = testable and is_main and name in ranking.not_better_than_control(confidence)
    interval = format_interval(score, method.intervals.get(score.name)) if is_main else ""
    marks = TIE * tie + LIKE_A_CONTROL * doubtful
    return Cell(format_score(score, value), interval, marks, name == ranking.best)


def _legend(
    result: EvaluationResult,
    columns: Sequence[Score],
    rows: Sequence[tuple[str, list[Cell]]],
    rankings: Sequence[Ranking],
) -> list[str]:
    cells = [cell for _, row in rows for cell in row]
    marks = {mark for cell in cells for mark in cell.marks}
    parts = ["Scores in percent." if all(s.is_fraction for s in columns) else ""]
    if any(cell.interval for cell in cells):
        parts.append(f"[ ]: {interval_text(result).rstrip(',')}.")
    parts += anchor_legend(result)
    if rankings:
        parts.append("Bold: best method of the column.")
    if TIE in marks:
        parts.append(
            f"{TIE}: not significantly worse than the best of the column ({test_text(result)})."
        )
    if LIKE_A_CONTROL in marks and result.ranking is not None:
        control = method_title(result.ranking.best_control or "")
        parts.append(f"{LIKE_A_CONTROL}: {_not_better(result.ranking, control)}")
    if result.ranking is not None and result.ranking.controls:
        names = ", ".join(map(method_title, result.ranking.controls))
        parts.append(f"Controls do not depend on the model and are not ranked: {names}.")
    return [part for part in parts if part]


def _not_better(ranking: Ranking, control: str) -> str:
    return (
        f"{score_title(ranking.score)} not significantly better than that of the best control, "
        f"{control} (same test)."
    )
