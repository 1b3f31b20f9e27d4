"""The result of a run in a few sentences: the best method, its certainty, and the controls."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.report.score_text import format_with_interval, score_title
from adcc_onnx.report.sequential_text import margin_text
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.sequential_summary import SequentialSummary


def verdict_sentences(result: EvaluationResult) -> list[str]:
    """Write the verdict on a run, the most important sentence first.

    Args:
        result: The result of the run.

    Returns:
        Sentences that name methods by their titles.
    """
    ranking = result.ranking
    if ranking is None:
        return [f"No method could be scored on {result.model}."]
    if ranking.score.name not in result.methods[ranking.best].intervals:
        return [_best(result, ranking), "One image gives no interval and no significance test."]
    if not result.can_be_significant:
        few = f"{result.scored} images are too few for any significant difference."
        return [_best(result, ranking), few]
    if result.sequential is not None:
        return [_best(result, ranking), *_sequential(result.sequential, ranking)]
    return [_best(result, ranking), _rivals(result, ranking), *_controls(result, ranking)]


def _best(result: EvaluationResult, ranking: Ranking) -> str:
    return (
        f"{method_title(ranking.best)} has the best {score_title(ranking.score)} on "
        f"{result.model}: {_score(result, ranking, ranking.best)} on {result.scored} images."
    )


def _rivals(result: EvaluationResult, ranking: Ranking) -> str:
    close = [n for n in result.not_significantly_worse or () if n in ranking.order]
    others = [n for n in ranking.order if n in ranking.p_values and n not in close]
    if not close and not others:
        return "No other method was evaluated."
    if not close:
        return "Its difference from every other method is statistically significant."
    if not others:
        return f"The difference from {listed(close)} is not statistically significant."
    return (
        f"The difference from {listed(close)} is not statistically significant; the difference "
        f"from {listed(others)} is."
    )


def _sequential(found: SequentialSummary, ranking: Ranking) -> list[str]:
    """Say what is certain after the images that were used."""
    names: dict[str, list[str]] = {}
    for name in ranking.rows:
        kind = "control " if name in ranking.controls else ""
        names.setdefault(kind + found.standings[name].verdict, []).append(name)
    margin = margin_text(found, ranking.score)
    texts = {
        "best": "{} {are} certainly the best method",
        "equivalent": "{} {are} certainly within " + margin + " of the best method",
        "worse": "{} {are} certainly worse than the best method",
        "open": "{} may be the best method or not",
        "control worse": "the best method is certainly better than {}",
        "control better": "{} {are} certainly better than every method",
        "control equivalent": "{} {are} certainly within " + margin + " of the best method",
        "control open": "{} may be better than the best method or not",
    }
    known = [
        text.format(listed(names[kind]), are=_are(names[kind]))
        for kind, text in texts.items()
        if kind in names
    ]
    return [
        f"{found.images} of the {found.population} images were used, in random order.",
        f"For all {found.population} images, with an error probability of "
        f"{100 * found.rule.alpha:g} %: {'; '.join(known)}.",
    ]


def _controls(result: EvaluationResult, ranking: Ranking) -> list[str]:
    control = ranking.best_control
    if control is None:
        return ["No control was evaluated, so it is unknown what a map of no meaning would score."]
    reached = (
        f"The control {method_title(control)}, which does not depend on the model, reaches "
        f"{_score(result, ranking, control)}"
    )
    doubtful = result.not_better_than_control
    if not doubtful:
        return [f"{reached}; every method is significantly better."]
    if len(doubtful) == len(ranking.control_p_values):
        return [
            f"{reached}: no method is significantly better, so this run does not show that any of "
            "them explains the model."
        ]
    return [f"{reached}: {listed(doubtful)} {_are(doubtful)} not significantly better."]


def listed(names: Sequence[str]) -> str:
    """Join the titles of methods as in a sentence."""
    *first, last = [method_title(name) for name in names]
    return f"{', '.join(first)} and {last}" if first else last


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _score(result: EvaluationResult, ranking: Ranking, name: str) -> str:
    method, score = result.methods[name], ranking.score
    interval = method.intervals.get(score.name)
    return format_with_interval(score, method.scores[score.name], interval)
