"""What the formats for people say of a run that may stop before it has seen all images."""

from __future__ import annotations

from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.results.sequential_comparison import BEST, BETTER, EQUIVALENT, OPEN, WORSE
from adcc_onnx.results.sequential_summary import SequentialSummary

# Headings of the columns that only such runs have.
VERDICT, IMAGES = "verdict", "images"
COLUMN_HELP = {
    VERDICT: ["What is known of the method on the whole dataset."],
    IMAGES: ["Images that the method was computed on."],
}


def sequential_columns(result: EvaluationResult) -> list[str]:
    """Return the headings of the columns that only runs with a stopping rule have."""
    return [] if result.sequential is None else [VERDICT, IMAGES]


def sequential_cells(result: EvaluationResult, name: str) -> list[str]:
    """Return the cells of a method in these columns.

    Args:
        result: The result of the run.
        name: Name of the method.
    """
    found = result.sequential
    if found is None:
        return []
    standing = found.standings[name]
    return [standing.verdict, str(standing.images)]


def images_text(result: EvaluationResult) -> str:
    """Return the number of images of a run, such as "120 of 1000 images"."""
    found = result.sequential
    if found is None:
        return f"{result.images} image{'s' * (result.images != 1)}"
    return f"{result.images} of {found.population} images"


def test_text(result: EvaluationResult) -> str:
    """Return the test behind the marks of a table, with its confidence level."""
    percent = f"{100 * result.resampling.confidence:.3g} %"
    if result.sequential is not None:
        return f"anytime-valid test, {percent}"
    if result.anchors is not None:
        return f"Holm-corrected jackknife test, {percent}"
    return f"Holm-corrected permutation test, {percent}"


def interval_text(result: EvaluationResult) -> str:
    """Return what the intervals of a table are, with their confidence level."""
    percent = f"{100 * result.resampling.confidence:.3g} %"
    found = result.sequential
    if found is None:
        return f"{percent} confidence interval"
    return f"{percent} confidence sequence, for all {found.population} images,"


def sequential_legend(result: EvaluationResult, score: Score) -> list[str]:
    """Return the explanation of the verdicts, and why the run stopped.

    Args:
        result: The result of the run.
        score: The score that ranks the methods.
    """
    found = result.sequential
    if found is None:
        return []
    return [_stop(found, result.anchors is None), _verdicts(found, score)]


def margin_text(found: SequentialSummary, score: Score) -> str:
    """Return the margin of equivalence, such as "0.5 points".

    Args:
        found: The comparison of the run.
        score: The score that ranks the methods.
    """
    margin = found.rule.margin
    if not score.is_fraction:
        return f"{margin:g}"
    return f"{100 * margin:g} point{'' if margin == 0.01 else 's'}"


def _stop(found: SequentialSummary, exact: bool) -> str:
    rule = f"(--until {found.rule.until})"
    if found.images == found.population:
        what = ": the verdicts are exact for them." if exact else "."
        return f"All {found.population} images were used {rule}{what}"
    if not found.stopped:
        return f"Not finished: {found.images} of {found.population} images so far {rule}."
    return (
        f"Stopped after {found.images} of {found.population} images {rule}, which are a random "
        "sample."
    )


def _verdicts(found: SequentialSummary, score: Score) -> str:
    margin, given = margin_text(found, score), {s.verdict for s in found.standings.values()}
    meanings = {
        BEST: "the best method",
        WORSE: "certainly worse than the best method"
        + ("" if found.rule.keep_all else ", so no longer computed"),
        EQUIVALENT: f"certainly within {margin} of the best method",
        BETTER: "a control that is certainly better than every method",
        OPEN: "not known yet",
    }
    texts = [f"{name}: {text}" for name, text in meanings.items() if name in given]
    return (
        f"verdict: for all {found.population} images of the dataset, with an error probability of "
        f"{100 * found.rule.alpha:g} % for all verdicts together ({'; '.join(texts)})"
    )
