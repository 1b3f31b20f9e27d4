"""From a run's values to its figures, their intervals and the ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.metrics.scoring import Metrics, dataset_scores
from adcc_onnx.results.ranking import Entry, Ranking, aligned, rank
from adcc_onnx.results.score_columns import Score, columns_of, main_score, scores_of
from adcc_onnx.results.store import Columns, FailedRow, Store, StoredRun
from adcc_onnx.statistics.intervals import Estimates, Interval, estimate
from adcc_onnx.statistics.resampling import Resampling

Curves = Mapping[str, Float64Array]


@dataclass(frozen=True)
class MethodSummary:
    """One method on a whole dataset.

    Attributes:
        figures: by name, fractions in [0, 1] unless their metric says otherwise; one that no image
            counts for is not there.
        intervals: of the figures, by name; none where fewer than two images count.
        degenerate: images whose map was constant; they count in the figures.
        failed: images that this method failed on; they do not.
        seconds: the mean time of an image; None without images.
        curves: the mean over the images of each curve that a metric kept.
    """

    scores: dict[str, float]
    intervals: dict[str, Interval]
    degenerate: int
    failed: int
    seconds: float | None
    curves: dict[str, list[float]]


@dataclass(frozen=True)
class RunSummary:
    """One model on a whole dataset.

    Attributes:
        model, protocol, layer, target: from the run's record.
        images: how many were taken up, failed ones included.
        failed: images that could not be read or scored at all.
        top1: the share of labeled images whose predicted class is the label; None without labels.
        complete: whether the run came to its end.
        methods: by name, in the order asked.
        failures: every failure, images first, in the order of the images.
        figures: what the metrics' figures are, by name.
        ranking: by ADCC, or by the first metric without it; None where no method has that figure.
        resampling: how intervals and tests were made.
    """

    model: str
    protocol: str
    layer: str
    target: str | int
    images: int
    failed: int
    top1: float | None
    complete: bool
    methods: dict[str, MethodSummary]
    failures: list[FailedRow]
    scores: dict[str, Score]
    ranking: Ranking | None
    resampling: Resampling


def summaries(store: Store, resampling: Resampling | None = None) -> list[RunSummary]:
    """The figures of all runs of a store, with their curves."""
    return [summary_of(store, run, resampling) for run in store.runs()]


def summary_of(store: Store, run: StoredRun, resampling: Resampling | None = None) -> RunSummary:
    """The figures of one run, with its curves from its store."""
    curves = {name: store.mean_curves(run.number, name) for name in run.methods}
    return summarize(run, curves, resampling)


def summarize(
    run: StoredRun,
    curves: Mapping[str, Curves] | None = None,
    resampling: Resampling | None = None,
) -> RunSummary:
    """The figures of one run.

    Args:
        run: from a store.
        curves: the mean curves of each method.
        resampling: how intervals and tests are made.
    """
    config, how = run.config, resampling or Resampling()
    metrics = get_metrics(config["metrics"])
    scores = scores_of(metrics)
    failed = Counter(failure.method for failure in run.failures)
    methods = entries(run)
    estimates = _estimates(methods, metrics, how)
    return RunSummary(
        model=config["model"],
        protocol=config["protocol"],
        layer=config["layer"],
        target=config["target"],
        images=run.images,
        failed=run.failed,
        top1=run.top1,
        complete=run.complete,
        methods={
            name: _of_method(
                columns, list(scores), found, failed[name], (curves or {}).get(name, {})
            )
            for (name, columns), found in zip(run.methods.items(), estimates, strict=True)
        },
        failures=run.failures,
        scores=scores,
        ranking=rank(methods, main_score(scores), how),
        resampling=how,
    )


def entries(run: StoredRun) -> list[Entry]:
    """The methods of one run, to be ranked."""
    return [Entry(name, found.positions, found.values) for name, found in run.methods.items()]


def _of_method(
    columns: Columns, names: Sequence[str], found: Estimates, failed: int, curves: Curves
) -> MethodSummary:
    rows = zip(
        names, found.statistics.tolist(), found.low.tolist(), found.high.tolist(), strict=True
    )
    known = [row for row in rows if not np.isnan(row[1])]
    return MethodSummary(
        scores={name: score for name, score, _, _ in known},
        intervals={name: (low, high) for name, _, low, high in known if not np.isnan(low)},
        degenerate=int(columns.degenerate.sum()),
        failed=failed,
        seconds=float(columns.seconds.mean()) if len(columns.seconds) else None,
        curves={name: curve.tolist() for name, curve in curves.items()},
    )


def _estimates(
    methods: Sequence[Entry], metrics: Metrics, resampling: Resampling
) -> list[Estimates]:
    """Every figure of every method, all on the same resampled images."""
    names = list(
        dict.fromkeys(c for asked, metric in metrics.items() for c in columns_of(asked, metric))
    )

    def scores(means: Float64Array) -> Float64Array:
        by_method = np.split(means, len(methods))
        found = [dataset_scores(metrics, dict(zip(names, part, strict=True))) for part in by_method]
        return np.stack([row for one in found for row in one.values()])

    values = aligned(methods, names)
    found = estimate(np.concatenate(values), scores, resampling)
    parts = [np.split(ends, len(methods)) for ends in (found.statistics, found.low, found.high)]
    return [Estimates(*part) for part in zip(*parts, strict=True)]
