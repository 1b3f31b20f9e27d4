"""What the formats for people say of scores that were corrected by images in float32."""

from __future__ import annotations

from adcc_onnx.report.score_text import format_score, score_title
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.score_definitions import Score

CORRECTION = "correction"


def anchor_columns(result: EvaluationResult) -> list[str]:
    """Return the headings of the columns that only runs with anchors have."""
    if result.anchors is None or result.ranking is None:
        return []
    return [f"{score_title(result.ranking.score)} in {result.anchors.precision}", CORRECTION]


def anchor_cells(result: EvaluationResult, name: str) -> list[str]:
    """Return the cells of a method in these columns.

    Args:
        result: The result of the run.
        name: Name of the method.
    """
    if result.anchors is None or result.ranking is None:
        return []
    score = result.ranking.score
    cheap = result.anchors.cheap[name].get(score.name)
    correction = result.anchors.corrections[name].get(score.name)
    return [format_score(score, cheap), _format_correction(score, correction)]


def _format_correction(score: Score, value: float | None) -> str:
    """Format a correction with one more digit than the score has."""
    if value is None or not score.is_fraction:
        return format_score(score, value, "+")
    return f"{round(100.0 * value, 2) + 0.0:+.2f}"


def anchor_legend(result: EvaluationResult) -> list[str]:
    """Return the explanation of corrected scores.

    Args:
        result: The result of the run.
    """
    if result.anchors is None:
        return []
    found = result.anchors
    return [
        f"All scores are estimates for float32: those of {result.images} images in "
        f"{found.precision}, corrected by the differences on {found.images} random images that "
        "were also evaluated in float32 (prediction-powered inference)."
    ]
