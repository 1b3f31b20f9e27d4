"""The figures of a run's metrics: what each is called, and how it is computed and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import CompositeMetric, Metric
from adcc_onnx.metrics.scoring import dataset_scores

_MAIN = "adcc"


@dataclass(frozen=True)
class Score:
    """One figure of a data set; a metric may have several.

    Attributes:
        name: as stored, such as "adcc_per_image".
        asked: the metric, as it was asked for.
        metric: the metric.
    """

    name: str
    asked: str
    metric: Metric

    @property
    def columns(self) -> tuple[str, ...]:
        """The values of an image that it is computed from."""
        return columns_of(self.asked, self.metric)

    def of(self, means: Float64Array) -> Float64Array:
        """The figures [R] of the means [K, R] of its columns."""
        by_name = dict(zip(self.columns, means, strict=True))
        return dataset_scores({self.asked: self.metric}, by_name)[self.name]

    @property
    def title(self) -> str:
        """What people call it."""
        options = self.asked.removeprefix(self.metric.name)
        kind = self.name.removeprefix(self.asked).replace("_", " ")
        return f"{self.metric.title}{options}{kind}"

    @property
    def head(self) -> str:
        """The head of its column: its title with an arrow to the good end."""
        return f"{self.title} {'↑' if self.metric.higher_is_better else '↓'}"

    @property
    def is_share(self) -> bool:
        """Whether people read it in percent."""
        least, greatest = self.metric.value_range
        return least >= -1 and greatest <= 1

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.metric.higher_is_better else -1

    def shown(self, value: float | None, sign: str = "") -> str:
        """For people: percent with one decimal, or three digits; "-" where there is none."""
        if value is None:
            return "-"
        # Adding zero takes the sign from what rounds to -0.
        if self.is_share:
            return f"{round(100.0 * value, 1) + 0.0:{sign}.1f}"
        return f"{value:{sign}.0f}" if abs(value) >= 100 else f"{value + 0.0:{sign}.3g}"

    def shown_interval(self, interval: tuple[float, float] | None, sign: str = "") -> str:
        if interval is None:
            return ""
        return f"[{', '.join(self.shown(end, sign) for end in interval)}]"


def scores_of(metrics: Mapping[str, Metric]) -> dict[str, Score]:
    """All figures of some metrics by name, in their order."""
    return {
        name: Score(name, asked, metric)
        for asked, metric in metrics.items()
        for name in dataset_scores(
            {asked: metric}, dict.fromkeys(columns_of(asked, metric), np.ones(1))
        )
    }


def main_score(scores: Mapping[str, Score]) -> Score:
    """What ranks unless asked otherwise: ADCC, or the first metric's figure."""
    return scores.get(_MAIN) or next(iter(scores.values()))


def columns_of(asked: str, metric: Metric) -> tuple[str, ...]:
    """The values of an image that a metric's figures are computed from."""
    parts: Sequence[Metric] = metric.parts if isinstance(metric, CompositeMetric) else ()
    return (asked, *(part.name for part in parts))
