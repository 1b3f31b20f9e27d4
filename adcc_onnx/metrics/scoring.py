"""How a list of metrics is scored: values per image, means over images, scores per dataset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import CompositeMetric, ExplainedBatch, Metric

Metrics = Mapping[str, Metric]


def score_all(metrics: Metrics, explained: ExplainedBatch) -> dict[str, Float64Array]:
    """The values of metrics and of the parts of composite ones, each computed once.

    Args:
        metrics: The metrics by their names with options.
        explained: The images with one method's maps.

    Returns:
        The values by name, [N] each.

    Example:
        >>> from adcc_onnx.metrics.metric_registry import get_metrics
        >>> batch = ExplainedBatch(np.array([0.8, 0.5]), np.array([0.6, 0.7]))
        >>> values = score_all(get_metrics(["average_drop", "average_increase"]), batch)
        >>> values["average_drop"].round(2), values["average_increase"]
        (array([0.25, 0.  ]), array([0., 1.]))
    """
    values: dict[str, Float64Array] = {}
    for name, metric in metrics.items():
        _score_into(values, name, metric, explained)
    return values


def mean_values(values: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """The mean over the images that have a value; metrics for which no image has one are left out.

    Args:
        values: The values by name, [N] each, NaN where an image has none.

    Returns:
        The means by name, [1] each.

    Example:
        >>> mean_values({"iou": np.array([0.25, np.nan, 0.75])})
        {'iou': array([0.5])}
    """
    finite = {name: column[~np.isnan(column)] for name, column in values.items()}
    return {name: column.mean(keepdims=True) for name, column in finite.items() if len(column)}


def dataset_scores(metrics: Metrics, means: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """The scores of R datasets in the order of the metrics.

    Args:
        metrics: The metrics by their names with options.
        means: Means over the images of the values of `score_all`, [R] each; a metric without a
            mean has no score.

    Returns:
        The scores by name, [R] each; a metric may have several.

    Example:
        >>> from adcc_onnx.metrics.metric_registry import get_metrics
        >>> means = {"coherency": 0.9, "complexity": 0.2, "average_drop": 0.1, "adcc": 0.8}
        >>> means = {name: np.array([value]) for name, value in means.items()}
        >>> scores = dataset_scores(get_metrics(["adcc"]), means)
        >>> {name: round(float(score[0]), 3) for name, score in scores.items()}
        {'adcc': 0.864, 'adcc_per_image': 0.8}
    """
    found: dict[str, Float64Array] = {}
    for name, metric in metrics.items():
        if name in means:
            aggregate = metric.aggregate({**means, metric.name: means[name]})
            found.update(
                {name + key.removeprefix(metric.name): aggregate[key] for key in aggregate}
            )
    return found


def _score_into(
    values: dict[str, Float64Array], name: str, metric: Metric, explained: ExplainedBatch
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
