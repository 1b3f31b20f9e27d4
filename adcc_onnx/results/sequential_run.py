"""The comparison of the methods of a stored run that has a stopping rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.results.ordered_values import order_values
from adcc_onnx.results.rows import ImageRow, StoredRun
from adcc_onnx.results.score_definitions import Score, main_score, scores_of
from adcc_onnx.results.sequential_comparison import SequentialComparison, compare_sequentially
from adcc_onnx.results.sequential_scores import Sample
from adcc_onnx.results.stopping_rule import recorded_rule
from adcc_onnx.statistics.intervals import Estimates, Interval


def compare_run(
    run: StoredRun, images: Sequence[ImageRow]
) -> tuple[SequentialComparison, bool] | None:
    """Compare the methods of a run.

    Args:
        run: The run.
        images: Its images.

    Returns:
        The comparison at the last look whose images are finished, and whether the run may stop
        there; None if the run has no stopping rule.
    """
    recorded = recorded_rule(run.config)
    if recorded is None:
        return None
    rule, population = recorded
    values = order_values(run, images)
    score = main_score(scores_of(get_metrics(run.config["metrics"])))
    found = compare_sequentially(values, run.controls, score, rule, population)
    if rule.width is None or found.stopped or not found.images:
        return found, found.stopped
    return found, max(_width(name, found) for name in found.methods) <= rule.width


def sequential_interval(
    found: SequentialComparison, name: str, score: Score
) -> tuple[float, Interval] | None:
    """Return a score with its confidence sequence after the images that a method was computed on.

    Args:
        found: The comparison of the run.
        name: The name of the method.
        score: The score.

    Returns:
        The score and its interval for the whole dataset; None if fewer than two images count.
    """
    values = found.evidence.methods[name]
    count = min(values.count, found.images)
    if not count:
        return None
    sample = Sample(score, np.array([count]), found.evidence.sample.population)
    estimate = sample.of_method(values, count)
    if estimate is None:
        return None
    point, ends = estimate.interval(found.rule.alpha)
    low, high = np.clip(ends, *score.metric.value_range).tolist()
    return point, (low, high)


def sequential_estimates(
    found: SequentialComparison, name: str, scores: Iterable[Score]
) -> Estimates:
    """Return scores of a method with their confidence sequences; see `sequential_interval`.

    Args:
        found: The comparison of the run.
        name: The name of the method.
        scores: The F scores.

    Returns:
        The estimates, [F]; NaN where fewer than two images count.
    """
    missing = (np.nan, (np.nan, np.nan))
    rows = [sequential_interval(found, name, score) or missing for score in scores]
    ends = np.array([(point, low, high) for point, (low, high) in rows]).reshape(-1, 3)
    return Estimates(*ends.T)


def _width(name: str, found: SequentialComparison) -> float:
    """Return the width of a method's interval; 0 for a method without values."""
    interval = sequential_interval(found, name, found.evidence.sample.score)
    return 0.0 if interval is None else interval[1][1] - interval[1][0]
