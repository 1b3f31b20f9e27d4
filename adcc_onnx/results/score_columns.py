"""The columns of a table: which scores it shows, and the ranking of the methods by each."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.results.anchored_estimates import AnchoredRun
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.ranking import Ranking, method_values, rank
from adcc_onnx.results.score_definitions import Score


def choose_columns(results: Sequence[EvaluationResult], names: Sequence[str]) -> dict[str, Score]:
    """Choose the scores that a table shows.

    Args:
        results: The results of the table.
        names: Names of the scores in the order of the columns; empty takes all that have a value.

    Returns:
        The scores by name.

    Raises:
        OptionError: No result has such a score, or a name is given twice.
    """
    known = {name: score for one in results for name, score in one.score_definitions.items()}
    for i, name in enumerate(names):
        if name not in known:
            raise OptionError(
                f"columns: there is no score '{name}'{did_you_mean(name, known)} "
                f"(scores: {', '.join(known)})"
            )
        if name in names[:i]:
            raise OptionError(f"columns: '{name}' is given twice")
    if names:
        return {name: known[name] for name in names}
    present = {n for one in results for method in one.methods.values() for n in method.scores}
    return {name: score for name, score in known.items() if name in present}


def rank_by(result: EvaluationResult, score: Score) -> Ranking | None:
    """Rank the methods of a result by any of its scores.

    Args:
        result: The result.
        score: The score.

    Returns:
        The ranking; None if no method has the score, or if fewer than two images count in it.
    """
    main = result.ranking
    if score.name not in result.score_definitions:
        return None
    if main is not None and main.score.name == score.name:
        found: Ranking | None = main
    elif result.sequential is not None:  # the tests assume a fixed number of images
        return None
    elif result.anchors is not None:
        found = AnchoredRun(result.stored_run).ranking(score.name)
    else:
        found = rank(method_values(result.stored_run), score, result.resampling)
    if found is None or score.name not in result.methods[found.best].intervals:
        return None
    return found
