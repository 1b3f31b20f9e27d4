"""From a run's rows to its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.evaluation.store import ScoreRow, StoredRun
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.metrics.registry import dataset_figures, get_metrics


@dataclass(frozen=True)
class MethodSummary:
    """One method on a whole dataset.

    Attributes:
        figures: fractions in [0, 1] by name; empty where no image counts.
        degenerate: images whose map was constant; they count in the figures.
        failed: images that this method failed on; they do not.
    """

    figures: dict[str, float]
    degenerate: int
    failed: int


@dataclass(frozen=True)
class Failure:
    """What failed: an image, or one method on it."""

    image: str
    method: str | None
    reason: str


@dataclass(frozen=True)
class RunSummary:
    """One model on a whole dataset.

    Attributes:
        model, protocol, layer, target: from the run's record.
        images: how many were taken up, failed ones included.
        failed: images that could not be read or scored at all.
        top1: the share of labelled images whose predicted class is the label; None without labels.
        complete: whether the run came to its end.
        methods: by name, in the order asked.
        failures: every failure, in the order of the images.
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
    failures: list[Failure]


def summarise(run: StoredRun) -> RunSummary:
    """The figures of one run."""
    config = run.config
    metrics = get_metrics(config["metrics"])
    by_method: dict[str, list[ScoreRow]] = {name: [] for name in config["methods"]}
    for row in run.scores:
        by_method[row.method].append(row)
    return RunSummary(
        model=config["model"],
        protocol=config["protocol"],
        layer=config["layer"],
        target=config["target"],
        images=len(run.images),
        failed=sum(image.failure is not None for image in run.images),
        top1=_top1(run),
        complete=run.complete,
        methods={name: _of_method(rows, metrics) for name, rows in by_method.items()},
        failures=_failures(run),
    )


def _of_method(rows: Sequence[ScoreRow], metrics: Sequence[Metric]) -> MethodSummary:
    sound = [row for row in rows if row.failure is None]
    names = sound[0].values if sound else ()
    values = {name: np.array([row.values[name] for row in sound]) for name in names}
    return MethodSummary(
        figures=dataset_figures(metrics, values),
        degenerate=sum(row.degenerate for row in sound),
        failed=len(rows) - len(sound),
    )


def _top1(run: StoredRun) -> float | None:
    labelled = [i for i in run.images if i.label is not None and i.predicted is not None]
    if not labelled:
        return None
    return sum(image.predicted == image.label for image in labelled) / len(labelled)


def _failures(run: StoredRun) -> list[Failure]:
    names = {image.position: image.name for image in run.images}
    images = [Failure(i.name, None, i.failure) for i in run.images if i.failure is not None]
    scores = [
        Failure(names[s.position], s.method, s.failure) for s in run.scores if s.failure is not None
    ]
    return images + scores
