"""All methods against the best, whether metrics agree, and how many images are enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from adcc_onnx.errors import OptionError, StoreError, did_you_mean
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.results.ranking import Entry, Ranking, aligned, rank
from adcc_onnx.results.score_columns import Score, main_score, scores_of
from adcc_onnx.results.store import Store, StoredRun
from adcc_onnx.results.summary import entries
from adcc_onnx.statistics.paired_tests import PairedDifference, paired_difference
from adcc_onnx.statistics.rank_correlation import kendall_tau_matrix
from adcc_onnx.statistics.resampling import Resampling, means
from adcc_onnx.statistics.sample_size import interval_widths, required_sample_size

POINT = 0.01  # the width of an interval that is narrow enough
# What must be equal for figures to be of the same thing.
_EQUAL = ("images", "protocol", "fill", "target", "seed")
# A model's own preprocessing belongs to it; of one model, it must be equal too.
_EQUAL_FOR_ONE_MODEL = ("preprocessing", "scores")


@dataclass(frozen=True)
class Comparison:
    """Methods of one run, or of several, by one figure.

    Attributes:
        title: the run, or "all runs".
        ranking: the methods, the best first, with p-values against it.
        figures: of each method, by name; NaN where no image counts.
        differences: from the best, of all others that have the figure.
        metrics: the figures whose rankings are held against each other.
        agreement: Kendall's tau-b between these, [m, m]; NaN where one cannot rank.
        widths: of each method's interval, by the number of images.
        enough: about how many images make the interval one point (0.01) wide; only for shares.
        resampling: how intervals and tests were made.
    """

    title: str
    ranking: Ranking
    scores: dict[str, float]
    differences: dict[str, PairedDifference]
    metrics: dict[str, Score]
    agreement: Float64Array
    widths: dict[str, dict[int, float]]
    enough: dict[str, int]
    resampling: Resampling


def comparisons(
    stores: Sequence[Store], by: str | None = None, resampling: Resampling | None = None
) -> list[Comparison]:
    """Each run's methods, and then those of all runs together, paired by the images' names.

    Args:
        stores: hold the runs.
        by: the figure to compare by; ADCC, or the first metric, if None.
        resampling: how intervals and tests are made.

    Raises:
        OptionError: a run has no such figure.
        StoreError: there is no run, nothing to compare in it, or the runs are of different things.
    """
    how = resampling or Resampling()
    runs = [(store, run) for store in stores for run in store.runs()]
    if not runs:
        raise StoreError("there is no run to compare")
    require_comparable([run for _, run in runs])
    labels = _labels([run for _, run in runs])
    metrics = [_scores(run) for _, run in runs]
    found = [
        compare(label, entries(run), scores, by, how)
        for label, scores, (_, run) in zip(labels, metrics, runs, strict=True)
    ]
    if len(runs) > 1:
        shared = {n: f for n, f in metrics[0].items() if all(n in other for other in metrics)}
        together = [
            entry
            for label, (store, run) in zip(labels, runs, strict=True)
            for entry in _named(label, run, store.image_names(run.number))
        ]
        _require_shared_images(together)
        found.append(compare("all runs", together, shared, by, how))
    return found


def compare(
    title: str,
    methods: Sequence[Entry],
    scores: Mapping[str, Score],
    by: str | None,
    resampling: Resampling,
) -> Comparison:
    """Compare methods by a figure; see `comparisons`."""
    score = _chosen(title, scores, by)
    ranking = rank(methods, score, resampling)
    if ranking is None:
        raise StoreError(f"{title}: no image counts in {score.name}")
    names = [entry.name for entry in methods]
    values = dict(zip(names, aligned(methods, score.columns), strict=True))
    by_size = {name: _widths(values[name], score, resampling) for name in ranking.order}
    found = {f.name: _figure(methods, f) for f in scores.values()}
    return Comparison(
        title=title,
        ranking=ranking,
        scores=dict(zip(names, found[score.name].tolist(), strict=True)),
        differences={
            name: _difference(values[name], values[ranking.best], score, resampling)
            for name in ranking.p
        },
        metrics=dict(scores),
        agreement=kendall_tau_matrix(np.array([scores[n].sign * row for n, row in found.items()])),
        widths=by_size,
        enough=_enough(by_size) if score.is_share else {},
        resampling=resampling,
    )


def require_comparable(runs: Sequence[StoredRun]) -> None:
    """Whether figures of these runs are of the same thing.

    Raises:
        StoreError: they are not; the differences are named.
    """
    for first, other in combinations([run.config for run in runs], 2):
        one_model = first.get("sha256") == other.get("sha256")
        keys = _EQUAL + (_EQUAL_FOR_ONE_MODEL if one_model else ())
        different = [key for key in keys if first.get(key) != other.get(key)]
        if different:
            shown = "; ".join(f"{k}: {first.get(k)!r} and {other.get(k)!r}" for k in different)
            raise StoreError(
                f"the runs of {first['model']} and {other['model']} cannot be compared ({shown})"
            )


def _labels(runs: Sequence[StoredRun]) -> list[str]:
    """A name for each run: its model, with the layer and a number where that is not enough."""
    models = Counter(run.config["model"] for run in runs)
    labels = [
        model if models[model := run.config["model"]] == 1 else f"{model} at {run.config['layer']}"
        for run in runs
    ]
    again = Counter(labels)
    return [
        label if again[label] == 1 else f"{label} ({labels[: i + 1].count(label)})"
        for i, label in enumerate(labels)
    ]


def _scores(run: StoredRun) -> dict[str, Score]:
    return scores_of(get_metrics(run.config["metrics"]))


def _named(label: str, run: StoredRun, names: Mapping[int, str]) -> Iterable[Entry]:
    """The methods of one run among several: images are told by their names."""
    for entry in entries(run):
        images = np.array([names[int(position)] for position in entry.images], dtype=object)
        yield replace(entry, name=f"{label}: {entry.name}", images=images)


def _require_shared_images(methods: Sequence[Entry]) -> None:
    seen = [set(entry.images) for entry in methods if len(entry.images)]
    if seen and not set.intersection(*seen):
        raise StoreError("the runs cannot be compared: they have no image in common")


def _chosen(title: str, scores: Mapping[str, Score], by: str | None) -> Score:
    if not scores:
        raise StoreError(f"{title} cannot be compared: there is no metric in common")
    if by is None:
        return main_score(scores)
    if by not in scores:
        raise OptionError(
            f"{title}: there is no figure '{by}'{did_you_mean(by, scores)} "
            f"(figures: {', '.join(scores)})"
        )
    return scores[by]


def _figure(methods: Sequence[Entry], score: Score) -> Float64Array:
    """A figure of each method, [M]."""
    values = aligned(methods, score.columns)
    return np.array([score.of(means(columns))[0] for columns in values])


def _difference(
    one: Float64Array, other: Float64Array, score: Score, resampling: Resampling
) -> PairedDifference:
    """On the images that have all values of both."""
    both = ~np.isnan(one - other).any(axis=0)
    return paired_difference(one[:, both], other[:, both], score.of, resampling)


def _widths(values: Float64Array, score: Score, resampling: Resampling) -> dict[int, float]:
    sound = values[:, ~np.isnan(values).any(axis=0)]
    found = interval_widths(sound, lambda means: score.of(means)[None], resampling)
    return {size: float(width[0]) for size, width in found.items()}


def _enough(by_size: Mapping[str, Mapping[int, float]]) -> dict[str, int]:
    """From the width on all images, the least uncertain one."""
    largest = {name: max(sizes) for name, sizes in by_size.items() if sizes}
    return {
        name: required_sample_size(by_size[name][size], size, POINT)
        for name, size in largest.items()
    }
