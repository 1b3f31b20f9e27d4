"""Scores as text: titles, column headings, numbers and intervals."""

from __future__ import annotations

from adcc_onnx.results.score_definitions import Score


def score_title(score: Score) -> str:
    """Return the name of a score for people, such as "ADCC per image"."""
    options = score.spec.removeprefix(score.metric.name)
    kind = score.name.removeprefix(score.spec).replace("_", " ")
    return f"{score.metric.title}{options}{kind}"


def column_heading(score: Score) -> str:
    """Return the title of a score with an arrow that points to its better end."""
    return f"{score_title(score)} {'↑' if score.metric.higher_is_better else '↓'}"


def format_score(score: Score, value: float | None, sign: str = "") -> str:
    """Format a value of a score for people.

    Args:
        score: The score.
        value: The value; None if there is none.
        sign: "+" to mark positive values with a sign.

    Returns:
        Percent with one decimal for fractions, three significant digits otherwise, or "-".
    """
    if value is None:
        return "-"
    # Adding zero removes the sign of values that round to -0.
    if score.is_fraction:
        return f"{round(100.0 * value, 1) + 0.0:{sign}.1f}"
    return f"{value:{sign}.0f}" if abs(value) >= 100 else f"{value + 0.0:{sign}.3g}"


def format_with_interval(
    score: Score, value: float | None, interval: tuple[float, float] | None
) -> str:
    """Format a value and, if there is one, its confidence interval behind it."""
    return f"{format_score(score, value)} {format_interval(score, interval)}".strip()


def format_interval(score: Score, interval: tuple[float, float] | None, sign: str = "") -> str:
    """Format a confidence interval as "[low, high]"; empty if there is none."""
    if interval is None:
        return ""
    return f"[{', '.join(format_score(score, end, sign) for end in interval)}]"
