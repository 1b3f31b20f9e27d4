"""The order of methods that were computed on different numbers of images."""

from __future__ import annotations

import math

from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.sequential_comparison import SequentialComparison
from adcc_onnx.results.sequential_run import sequential_interval


def sequential_ranking(found: SequentialComparison) -> Ranking | None:
    """Rank the methods of a run with a stopping rule.

    The methods that may be the best come first, by their score. The others follow by their
    difference from the leading method on the images that both were computed on, and so do the
    controls.

    Args:
        found: The comparison of the run.

    Returns:
        The ranking with anytime-valid p-values; None if no method has the score.
    """
    contenders = found.contenders
    if not contenders:
        return None
    score = found.evidence.sample.score
    points = {name: sequential_interval(found, name, score) for name in contenders}
    values = {n: -math.inf if p is None else score.sign * p[0] for n, p in points.items()}
    first = sorted(contenders, key=lambda name: -values[name])
    others = _by_difference(found, [n for n in found.methods if n not in contenders], first[0])
    controls = _by_difference(found, found.controls, first[0])
    known = [*first[1:], *(n for n in (*others, *controls) if found.has_scores(n))]
    return Ranking(
        score,
        [*first, *others],
        controls,
        {name: found.p_value(name) for name in known},
        _against_control(found, [*first, *others], controls),
    )


def _by_difference(found: SequentialComparison, names: list[str], leader: str) -> list[str]:
    """Sort methods by their difference from the leading one; those without scores come last."""
    score, alpha = found.evidence.sample.score, found.rule.alpha
    gaps = {n: score.sign * found.evidence.difference(n, leader, alpha)[0] for n in names}
    return sorted(names, key=lambda name: math.inf if math.isnan(gaps[name]) else -gaps[name])


def _against_control(
    found: SequentialComparison, methods: list[str], controls: list[str]
) -> dict[str, float]:
    """Test each method against the best control."""
    known = [name for name in controls if found.has_scores(name)]
    if not known:
        return {}
    # The data choose the best control, so each of them might have been tested.
    hypotheses = len(methods) * len(known)
    return {
        name: min(1.0, hypotheses * found.p_value_of_pair(name, known[0]))
        for name in methods
        if found.has_scores(name)
    }
