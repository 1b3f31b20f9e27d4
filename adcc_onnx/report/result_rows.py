"""The text that the formats for people share: headline, table rows and notes of a run."""

from __future__ import annotations

from dataclasses import dataclass

from adcc_onnx.report.anchor_text import anchor_cells, anchor_columns, anchor_legend
from adcc_onnx.report.score_text import column_heading, format_interval, format_score, score_title
from adcc_onnx.report.sequential_text import (
    images_text,
    interval_text,
    sequential_cells,
    sequential_columns,
    sequential_legend,
    test_text,
)
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.rows import FailureRow
from adcc_onnx.results.score_definitions import Score

_NOT_SIGNIFICANT = "≈"
_LIKE_A_CONTROL = "!"
_LISTED_FAILURES = 10
_COUNTS = ("degenerate", "failed")
OWN_TIME = (
    "per image, of this method's own passes and metrics; the first pass, which all methods share, "
    "is not included"
)
FEW_IMAGES = 10


def headline(result: EvaluationResult) -> str:
    """Return one line with the settings of a run."""
    parts = [
        result.model,
        images_text(result),
        f"layer {result.layer}",
        f"target {result.target}",
        f"protocol {result.protocol}",
    ]
    differentiated = result.stored_run.config.get("differentiated")
    if differentiated:
        parts.append(f"gradients of {differentiated}")
    if result.failed:
        parts.append(f"{result.failed} failed")
    if result.top1 is not None:
        parts.append(f"top-1 {100.0 * result.top1:.1f} %")
    if result.scores_reason:
        parts.append(f"scores: {result.scores_reason}")
    return " · ".join(parts)


@dataclass(frozen=True)
class RankedTable:
    """The cells of a table.

    Attributes:
        header: Headings of the columns.
        methods: One row per method, the best first.
        controls: One row per control, the best first.
    """

    header: list[str]
    methods: list[list[str]]
    controls: list[list[str]]


def ranked_table(result: EvaluationResult) -> RankedTable:
    """Return the cells of the table of a run."""
    order, _ = result.ranked
    scores, counts = shown_scores(result), shown_counts(result)
    extra = sequential_columns(result)
    header = ["method", *extra, *(column_heading(score) for score in scores)]
    header += [*anchor_columns(result), *counts, "own time"]
    rows = [_row(result, name, scores, counts) for name in result.rows]
    return RankedTable(header, rows[: len(order)], rows[len(order) :])


def shown_scores(result: EvaluationResult) -> list[Score]:
    """Return the scores that a table shows: those that any method has."""
    methods, scores = result.methods.values(), result.score_definitions.values()
    return [score for score in scores if any(score.name in method.scores for method in methods)]


def shown_counts(result: EvaluationResult) -> list[str]:
    """Return the counts that a table shows, "degenerate" and "failed", if any is not 0."""
    methods = result.methods.values()
    return [count for count in _COUNTS if any(getattr(method, count) for method in methods)]


def legend(result: EvaluationResult) -> list[str]:
    """Return the explanation of the table's columns and marks."""
    if result.ranking is None:
        return []
    return [*_marks_legend(result, result.ranking), f"own time: {OWN_TIME}"]


def doubts(result: EvaluationResult) -> list[str]:
    """Return why the results are probably meaningless, if they are."""
    return [f"Probably meaningless: {text}." for text in result.warnings]


def remarks(result: EvaluationResult) -> list[str]:
    """Return what limits the results: few images, methods without scores, and failures."""
    lines = [] if result.ranking is None else _limits(result, result.ranking)
    skipped = _failed_everywhere(result)
    lines += [f"no scores for {', '.join(names)}: {why}" for why, names in skipped.items()]
    listed = {name for names in skipped.values() for name in names}
    failures = [f for f in result.failures if f.method not in listed]
    lines += [f"failed: {_failure_text(f)}" for f in failures[:_LISTED_FAILURES]]
    if len(failures) > _LISTED_FAILURES:
        more = len(failures) - _LISTED_FAILURES
        lines.append(f"failed: {more} more, which `adcc-onnx report --failures` lists")
    if "budget" in result.stored_run.config:
        lines.append(f"Chosen by --budget: {result.stored_run.config['budget']}.")
    if not result.complete:
        lines.append("The run is not complete: `adcc-onnx evaluate ... --resume` continues it.")
    return lines


def _failed_everywhere(result: EvaluationResult) -> dict[str, list[str]]:
    """Return the methods that failed on several images for one reason and scored none."""
    reasons: dict[str, set[str]] = {}
    for failure in result.failures:
        if failure.method is not None:
            reasons.setdefault(failure.method, set()).add(failure.reason)
    found: dict[str, list[str]] = {}
    for name, method in result.methods.items():
        own = reasons.get(name, set())
        if len(own) == 1 and method.failed > 1 and not method.scores:
            found.setdefault(own.pop(), []).append(name)
    return found


def _failure_text(failure: FailureRow) -> str:
    if failure.method is not None:
        return f"{failure.image} ({failure.method}): {failure.reason}"
    return named_reason(failure.image, failure.reason)


def named_reason(image: str, reason: str) -> str:
    """Put the name of an image before the reason of its failure, unless it stands there already."""
    return reason if reason.startswith(f"{image}:") else f"{image}: {reason}"


def _row(result: EvaluationResult, name: str, scores: list[Score], counts: list[str]) -> list[str]:
    method = result.methods[name]
    cells = [_cell(result, name, score) for score in scores]
    return [
        name,
        *sequential_cells(result, name),
        *cells,
        *anchor_cells(result, name),
        *(str(getattr(method, count)) for count in counts),
        format_seconds(method.seconds),
    ]


def _cell(result: EvaluationResult, name: str, score: Score) -> str:
    """Format a score; the ranking score also has its interval and mark."""
    method, ranking = result.methods[name], result.ranking
    value = format_score(score, method.scores.get(score.name))
    if ranking is None or ranking.score.name != score.name:
        return value
    doubtful = name in (result.not_better_than_control or ())
    # The verdicts of a run with a stopping rule say the same and more.
    close = result.sequential is None and name in (result.not_significantly_worse or ())
    marks = (_NOT_SIGNIFICANT if close else " ") + (_LIKE_A_CONTROL if doubtful else " ")
    interval = format_interval(score, method.intervals.get(score.name))
    return " ".join(part for part in (value, interval, marks) if part)


def format_seconds(seconds: float | None) -> str:
    """Format a time per image in ms or s; "-" if there is none."""
    if seconds is None:
        return "-"
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _marks_legend(result: EvaluationResult, ranking: Ranking) -> list[str]:
    title = score_title(ranking.score)
    if ranking.score.name not in result.methods[ranking.best].intervals:
        return [
            f"Fewer than two images count in {title}: no confidence intervals, and no "
            "significance tests."
        ]
    lines = [f"[ ]: {interval_text(result)} of {title}"]
    lines += [*sequential_legend(result, ranking.score), *anchor_legend(result)]
    if result.sequential is None and result.not_significantly_worse:
        lines.append(
            f"{_NOT_SIGNIFICANT}: not significantly different from the best, {ranking.best} "
            f"({test_text(result)})"
        )
    if result.not_better_than_control:
        lines.append(
            f"{_LIKE_A_CONTROL}: not significantly better than the best control, "
            f"{ranking.best_control} ({_same_test(result)})"
        )
    if ranking.controls:
        names = ", ".join(ranking.controls)
        lines.append(f"Controls do not depend on the model and are not ranked: {names}.")
    return lines


def _same_test(result: EvaluationResult) -> str:
    return "same test" if result.sequential is None else test_text(result)


def _limits(result: EvaluationResult, ranking: Ranking) -> list[str]:
    """Say where the number of images is too small for the intervals and tests of the ranking."""
    if ranking.score.name not in result.methods[ranking.best].intervals:
        return []
    return sample_size_notes(ranking, result.scored, result.resampling.confidence)


def sample_size_notes(ranking: Ranking, images: int, confidence: float) -> list[str]:
    """Return what the number of images does not allow to conclude.

    Args:
        ranking: The ranking.
        images: Number of images that count.
        confidence: Confidence level of the intervals and tests.
    """
    lines = []
    if images < FEW_IMAGES:
        lines.append(
            f"Only {images} images: intervals and tests are unreliable below {FEW_IMAGES} images."
        )
    if not ranking.can_be_significant(images, confidence):
        lines.append(
            f"With {images} images, no difference can be significant at {100 * confidence:.3g} % "
            f"(p is at least {ranking.smallest_p_value(images):.2g}): the order is not certain."
        )
    return lines
