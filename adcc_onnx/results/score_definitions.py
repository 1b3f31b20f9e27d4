"""The scores that a run's metrics give for a dataset, and the columns they are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import CompositeMetric, Metric
from adcc_onnx.metrics.scoring import dataset_scores

_MAIN_SCORE = "adcc"


@dataclass(frozen=True)
class Score:
    """One score of a dataset; a metric may have several.

    Attributes:
        name: Name under which the score is stored, such as "adcc_per_image".
        spec: The metric as the user wrote it, such as "deletion(steps=28)".
        metric: The metric.
    """

    name: str
    spec: str
    metric: Metric = field(compare=False)  # `spec` identifies it.

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the per-image values that the score is computed from."""
        return columns_of(self.spec, self.metric)

    @property
    def column_ranges(self) -> list[tuple[float, float]]:
        """The smallest and the largest possible value of each of these columns."""
        return list(column_ranges({self.spec: self.metric}).values())

    @property
    def is_fraction(self) -> bool:
        """Whether the score lies in [-1, 1], so that tables show it in percent."""
        least, greatest = self.metric.value_range
        return least >= -1 and greatest <= 1

    @property
    def is_bounded_mean(self) -> bool:
        """Whether the score is the mean of values per image that have finite bounds."""
        is_mean = type(self.metric).aggregate is Metric.aggregate
        return is_mean and bool(np.isfinite(self.metric.value_range).all())

    @property
    def sign(self) -> int:
        """1 if higher is better, -1 if lower is better."""
        return 1 if self.metric.higher_is_better else -1

    def from_means(self, means: Float64Array) -> Float64Array:
        """Compute the score of R datasets.

        Args:
            means: Mean of each of the K columns, [K, R].

        Returns:
            The scores, [R].
        """
        by_name = dict(zip(self.columns, means, strict=True))
        return dataset_scores({self.spec: self.metric}, by_name)[self.name]


def scores_of(metrics: Mapping[str, Metric]) -> dict[str, Score]:
    """Return all scores of some metrics by name, in the order of the metrics."""
    return {
        name: Score(name, spec, metric)
        for spec, metric in metrics.items()
        for name in dataset_scores(
            {spec: metric}, dict.fromkeys(columns_of(spec, metric), np.ones(1))
        )
    }


def main_score(scores: Mapping[str, Score]) -> Score:
    """Return the score that ranks methods by default: ADCC, or else the first one."""
    return scores.get(_MAIN_SCORE) or next(iter(scores.values()))


def columns_of(spec: str, metric: Metric) -> tuple[str, ...]:
    """Return the names of the per-image values that a metric's scores are computed from."""
    return (spec, *(part.name for part in _parts(metric)))


def value_columns(metrics: Mapping[str, Metric]) -> list[str]:
    """Return the names of the per-image values of some metrics, each once."""
    return list(
        dict.fromkeys(c for spec, metric in metrics.items() for c in columns_of(spec, metric))
    )


def column_ranges(metrics: Mapping[str, Metric]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest possible value of each of these columns, by name."""
    found: dict[str, tuple[float, float]] = {}
    for spec, metric in metrics.items():
        ranges = (one.value_range for one in (metric, *_parts(metric)))
        found.update(zip(columns_of(spec, metric), ranges, strict=True))
    return found


def _parts(metric: Metric) -> Sequence[Metric]:
    return metric.parts if isinstance(metric, CompositeMetric) else ()
