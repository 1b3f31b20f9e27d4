"""Metrics by name, and how a list of them is scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.metrics.adcc import ADCC
from adcc_onnx.metrics.average_drop import AverageDrop
from adcc_onnx.metrics.average_gain import AverageGain
from adcc_onnx.metrics.average_increase import AverageIncrease
from adcc_onnx.metrics.coherency import Coherency
from adcc_onnx.metrics.complexity import Complexity
from adcc_onnx.metrics.metric import CompositeMetric, Explained, Metric, Scores

_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        AverageDrop(),
        AverageIncrease(),
        AverageGain(),
        Coherency(),
        Complexity(),
        ADCC(),
    )
}

# What the paper reports, in the order of its tables.
ADCC_FAMILY = ("average_drop", "average_increase", "coherency", "complexity", "adcc")


def metric_names() -> list[str]:
    """The names of all metrics."""
    return list(_METRICS)


def find_metric(name: str) -> Metric | None:
    """The metric of this name, None where there is none."""
    return _METRICS.get(name)


def get_metrics(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names, in the order asked, each once.

    Raises:
        OptionError: an unknown name, with the closest there are.
    """
    return [_get(name) for name in dict.fromkeys(names)]


def score_all(metrics: Sequence[Metric], explained: Explained) -> dict[str, Scores]:
    """The values [N] of the metrics by name, and of the parts of composite ones, each once."""
    values: dict[str, Scores] = {}
    for metric in metrics:
        _score_into(values, metric, explained)
    return values


def dataset_figures(metrics: Sequence[Metric], values: Mapping[str, Scores]) -> dict[str, float]:
    """The figures of a data set, by name, in the order of the metrics.

    Args:
        metrics: those asked for.
        values: their values by name, as `score_all` gives them, of every sound image. With no
            sound image there are no figures: the result is empty, never NaN.
    """
    figures: dict[str, float] = {}
    for metric in metrics:
        if np.size(values.get(metric.name, ())):
            figures.update(metric.dataset(values))
    return figures


def _get(name: str) -> Metric:
    if name not in _METRICS:
        raise OptionError(
            f"there is no metric '{name}'{did_you_mean(name, _METRICS)} "
            f"(metrics: {', '.join(_METRICS)})"
        )
    return _METRICS[name]


def _score_into(values: dict[str, Scores], metric: Metric, explained: Explained) -> None:
    if metric.name in values:
        return
    if isinstance(metric, CompositeMetric):
        for part in metric.parts:
            _score_into(values, part, explained)
        values[metric.name] = metric.combine(values)
    else:
        values[metric.name] = metric.score(explained)
