"""Comparison of methods: differences from the best, agreement of metrics, required images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from adcc_onnx.errors import OptionError, StoreError, did_you_mean
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.results.pairwise import score_difference
from adcc_onnx.results.ranking import (
    MethodValues,
    Ranking,
    align_images,
    identify_by_name,
    method_values,
    rank,
)
from adcc_onnx.results.rows import StoredRun
from adcc_onnx.results.score_definitions import Score, main_score, scores_of
from adcc_onnx.results.stopping_rule import recorded_rule
from adcc_onnx.results.store import Store
from adcc_onnx.statistics.paired_tests import PairedDifference
from adcc_onnx.statistics.rank_correlation import kendall_tau_matrix
from adcc_onnx.statistics.resampling import Resampling, means
from adcc_onnx.statistics.sample_size import interval_widths, required_sample_size

_ONE_POINT = 0.01  # Width of a confidence interval that is narrow enough: one percentage point.
# Settings that must be equal, or scores are not comparable.
_EQUAL = ("images", "protocol", "fill", "target", "seed")
# Settings that must also be equal for two runs of one model.
_EQUAL_FOR_ONE_MODEL = ("preprocessing", "scores")


@dataclass(frozen=True)
class Comparison:
    """Methods of one run, or of several, compared by one score.

    Attributes:
        title: Name of the run, or "all runs".
        ranking: Methods, the best first, with p-values against the best.
        scores: Score of each method, by name; NaN where no image counts.
        differences: PairedDifference of each other method with the score from the best, by name.
        metrics: Scores whose rankings of the methods are compared with each other.
        agreement: Kendall's tau-b between the rankings by these scores, [m, m]; NaN where a score
            cannot rank the methods.
        interval_widths: Width of each method's confidence interval, by the number of images.
        images_for_one_point: Estimated number of images for an interval one percentage point
            (0.01) wide, by method; empty if the score is not a fraction.
        resampling: Settings of the confidence intervals and tests.
        early_stopping: Whether the number of images depended on the scores, which the intervals and
            tests do not take into account.
        uncorrected: Whether the scores are those of a cheaper precision, without the correction by
            anchors.
    """

    title: str
    ranking: Ranking
    scores: dict[str, float]
    differences: dict[str, PairedDifference]
    metrics: dict[str, Score]
    agreement: Float64Array
    interval_widths: dict[str, dict[int, float]]
    images_for_one_point: dict[str, int]
    resampling: Resampling
    early_stopping: bool = False
    uncorrected: bool = False


def compare_runs(
    stores: Sequence[Store], by: str | None = None, resampling: Resampling | None = None
) -> list[Comparison]:
    """Compare the methods of each run, and those of all runs together, paired by image name.

    Args:
        stores: Stores that hold the runs.
        by: Score to compare by; None takes ADCC, or the first score without it.
        resampling: Settings of the confidence intervals and tests.

    Returns:
        One comparison per run, and one of all runs if there are several.

    Raises:
        OptionError: A run does not have the score.
        StoreError: There is no run, a run has no scored image, or the runs are not comparable.
    """
    settings = resampling or Resampling()
    runs = [(store, run) for store in stores for run in store.runs()]
    if not runs:
        raise StoreError("there is no run to compare")
    require_comparable([run for _, run in runs])
    labels = _labels([run for _, run in runs])
    scores = [_scores(run) for _, run in runs]
    found = [
        compare_methods(label, method_values(run), own, by, settings)
        for label, own, (_, run) in zip(labels, scores, runs, strict=True)
    ]
    if len(runs) > 1:
        shared = {n: s for n, s in scores[0].items() if all(n in other for other in scores)}
        together = [
            values
            for label, (store, run) in zip(labels, runs, strict=True)
            for values in _by_image_name(label, run, store.image_names(run.number))
        ]
        _require_shared_images(together)
        found.append(compare_methods("all runs", together, shared, by, settings))
    early = any(recorded_rule(run.config) is not None for _, run in runs)
    uncorrected = any(run.anchors is not None for _, run in runs)
    return [replace(one, early_stopping=early, uncorrected=uncorrected) for one in found]


def compare_methods(
    title: str,
    methods: Sequence[MethodValues],
    scores: Mapping[str, Score],
    by: str | None,
    resampling: Resampling,
) -> Comparison:
    """Compare methods by one score.

    Args:
        title: Name of the comparison.
        methods: Values of the methods.
        scores: Scores that all methods have, by name.
        by: Name of the score to compare by; None takes ADCC, or the first score without it.
        resampling: Settings of the confidence intervals and tests.

    Returns:
        The comparison.

    Raises:
        OptionError: There is no such score.
        StoreError: No image counts in the score, or there is no score at all.
    """
    score = _chosen_score(title, scores, by)
    ranking = rank(methods, score, resampling)
    if ranking is None:
        raise StoreError(f"{title}: no image counts in {score.name}")
    names = [method.name for method in methods]
    values = dict(zip(names, align_images(methods, score.columns), strict=True))
    by_size = {name: _interval_widths(values[name], score, resampling) for name in ranking.rows}
    found = {one.name: _dataset_score(methods, one) for one in scores.values()}
    return Comparison(
        title=title,
        ranking=ranking,
        scores=dict(zip(names, found[score.name].tolist(), strict=True)),
        differences={
            name: score_difference(values[name], values[ranking.best], score, resampling)
            for name in ranking.p_values
        },
        metrics=dict(scores),
        agreement=kendall_tau_matrix(np.array([scores[n].sign * row for n, row in found.items()])),
        interval_widths=by_size,
        images_for_one_point=_images_for_one_point(by_size) if score.is_fraction else {},
        resampling=resampling,
    )


def require_comparable(runs: Sequence[StoredRun]) -> None:
    """Check that the scores of several runs measure the same thing.

    Args:
        runs: The runs.

    Raises:
        StoreError: They do not; the message names the differences.
    """
    for first, other in combinations([run.config for run in runs], 2):
        one_model = first.get("sha256") == other.get("sha256")
        keys = _EQUAL + (_EQUAL_FOR_ONE_MODEL if one_model else ())
        different = [key for key in keys if first.get(key) != other.get(key)]
        if different:
            listed = "; ".join(f"{k}: {first.get(k)!r} and {other.get(k)!r}" for k in different)
            raise StoreError(
                f"the runs of {first['model']} and {other['model']} cannot be compared ({listed})"
            )


def _labels(runs: Sequence[StoredRun]) -> list[str]:
    """Name each run by its model; add the layer and a number to names that would repeat."""
    models = Counter(run.config["model"] for run in runs)
    labels = [
        model if models[model := run.config["model"]] == 1 else f"{model} at {run.config['layer']}"
        for run in runs
    ]
    counts = Counter(labels)
    return [
        label if counts[label] == 1 else f"{label} ({labels[: i + 1].count(label)})"
        for i, label in enumerate(labels)
    ]


def _scores(run: StoredRun) -> dict[str, Score]:
    return scores_of(get_metrics(run.config["metrics"]))


def _by_image_name(label: str, run: StoredRun, names: Mapping[int, str]) -> Iterable[MethodValues]:
    """Yield the values of a run among several, with images identified by name."""
    for method in method_values(run):
        yield replace(identify_by_name(method, names), name=f"{label}: {method.name}")


def _require_shared_images(methods: Sequence[MethodValues]) -> None:
    image_sets = [set(method.images) for method in methods if len(method.images)]
    if image_sets and not set.intersection(*image_sets):
        raise StoreError("the runs cannot be compared: they have no image in common")


def _chosen_score(title: str, scores: Mapping[str, Score], by: str | None) -> Score:
    if not scores:
        raise StoreError(f"{title} cannot be compared: there is no metric in common")
    if by is None:
        return main_score(scores)
    if by not in scores:
        raise OptionError(
            f"{title}: there is no score '{by}'{did_you_mean(by, scores)} "
            f"(scores: {', '.join(scores)})"
        )
    return scores[by]


def _dataset_score(methods: Sequence[MethodValues], score: Score) -> Float64Array:
    """Compute a score of each method, [M]."""
    values = align_images(methods, score.columns)
    return np.array([score.from_means(means(columns))[0] for columns in values])


def _interval_widths(
    values: Float64Array, score: Score, resampling: Resampling
) -> dict[int, float]:
    """Compute the widths of a score's interval by the number of images."""
    known = values[:, ~np.isnan(values).any(axis=0)]
    found = interval_widths(known, lambda means: score.from_means(means)[None], resampling)
    return {size: float(width[0]) for size, width in found.items()}


def _images_for_one_point(by_size: Mapping[str, Mapping[int, float]]) -> dict[str, int]:
    """Extrapolate from the width on all images, which is the most certain one."""
    largest = {name: max(sizes) for name, sizes in by_size.items() if sizes}
    return {
        name: required_sample_size(by_size[name][size], size, _ONE_POINT)
        for name, size in largest.items()
    }
