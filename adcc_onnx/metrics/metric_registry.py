"""Metrics by name, and how a list of them is scored."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping

import numpy as np

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import CompositeMetric, Explained, Metric
from adcc_onnx.options import read_options, split_call

Metrics = Mapping[str, Metric]

# Each metric's class and the module it stands in, imported when it is first asked for.
_METRICS = {
    "average_drop": ("average_drop", "AverageDrop"),
    "average_increase": ("average_increase", "AverageIncrease"),
    "average_gain": ("average_gain", "AverageGain"),
    "coherency": ("coherency", "Coherency"),
    "complexity": ("complexity", "Complexity"),
    "adcc": ("adcc", "ADCC"),
    "deletion": ("pixel_curve", "Deletion"),
    "insertion": ("pixel_curve", "Insertion"),
    "road_morf": ("road", "RoadMorf"),
    "road_lerf": ("road", "RoadLerf"),
    "road": ("road", "Road"),
    "sparseness": ("sparseness", "Sparseness"),
    "entropy": ("entropy", "Entropy"),
    "max_sensitivity": ("max_sensitivity", "MaxSensitivity"),
    "infidelity": ("infidelity", "Infidelity"),
    "passes": ("passes", "Passes"),
    "pointing_game": ("pointing_game", "PointingGame"),
    "energy_pointing_game": ("energy_pointing_game", "EnergyPointingGame"),
    "iou": ("iou", "IoU"),
    "best_iou": ("iou", "BestIoU"),
}

# What the paper reports, in the order of its tables.
ADCC_FAMILY = ("average_drop", "average_increase", "coherency", "complexity", "adcc")
# Those that exchange pixels step by step.
PIXEL_CURVES = ("deletion", "insertion")


def metric_names() -> list[str]:
    """The names of all metrics."""
    return list(_METRICS)


def list_metrics() -> list[type[Metric]]:
    """The classes of all metrics, in the order of their names."""
    return [_find(name) for name in _METRICS]


def get_metric(text: str) -> Metric:
    """The metric a user asks for: `"adcc"`, or with options `"deletion(steps=56)"`.

    Raises:
        OptionError: an unknown metric or option, with the closest there are, or a wrong value.
    """
    name, options = split_call(text)
    found = _find(name)
    return found(**read_options(name, found, options))


def get_metrics(texts: Iterable[str]) -> dict[str, Metric]:
    """The metrics a user asks for by what was asked, in that order, each once.

    Raises:
        OptionError: as `get_metric`.
    """
    return {text: get_metric(text) for text in dict.fromkeys(texts)}


def score_all(metrics: Metrics, explained: Explained) -> dict[str, Float64Array]:
    """The values [N] of the metrics by name, and of the parts of composite ones, each once."""
    values: dict[str, Float64Array] = {}
    for name, metric in metrics.items():
        _score_into(values, name, metric, explained)
    return values


def dataset_scores(metrics: Metrics, means: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """The figures of R data sets, by name, in the order of the metrics: [R] each.

    Args:
        metrics: those asked for.
        means: the means over the images of what `score_all` gives, [R] each; a metric whose
            mean, or that of one of its parts, is not there has no figure.
    """
    found: dict[str, Float64Array] = {}
    for name, metric in metrics.items():
        if name in means:
            aggregate = metric.aggregate({**means, metric.name: means[name]})
            found.update(
                {name + key.removeprefix(metric.name): aggregate[key] for key in aggregate}
            )
    return found


def mean_values(values: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """The mean over the images that have a value, [1] each; nothing where no image has one."""
    sound = {name: column[~np.isnan(column)] for name, column in values.items()}
    return {name: column.mean(keepdims=True) for name, column in sound.items() if len(column)}


def _find(name: str) -> type[Metric]:
    if name not in _METRICS:
        raise OptionError(
            f"there is no metric '{name}'{did_you_mean(name, _METRICS)} "
            f"(metrics: {', '.join(_METRICS)})"
        )
    module, cls = _METRICS[name]
    found: type[Metric] = getattr(importlib.import_module(f"adcc_onnx.metrics.{module}"), cls)
    return found


def _score_into(
    values: dict[str, Float64Array], name: str, metric: Metric, explained: Explained
) -> None:
    if name in values:
        return
    if isinstance(metric, CompositeMetric):
        for part in metric.parts:
            _score_into(values, part.name, part, explained)
        values[name] = metric.combine(values)
    else:
        if explained.context is not None:
            explained.context.begin(name)
        values[name] = metric.score(explained)
