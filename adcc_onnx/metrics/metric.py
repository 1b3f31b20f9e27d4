"""What a metric is: what it needs to see, and how it scores one explanation.

A metric never runs a model or makes a map; it reads `Explained` and returns one number an image.
All figures are fractions.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


class Need(enum.Enum):
    """What a metric must be shown beside the map; the evaluation computes only that."""

    MASKED_SCORE = "the score of the explanation map"
    SECOND_MAP = "the map of the explanation map"


@dataclass(frozen=True)
class Explained:
    """N images, explained: x the image, c its class, M = CAM_c(x), e = x * M.

    Attributes:
        probability: p(x), the probability of c, [N] float64.
        masked_probability: p(e), [N] float64; None where no metric needs it.
        maps: M in [0, 1], [N, H, W] float32; None where no metric needs it.
        second_maps: CAM_c(e), [N, H, W] float32; None where no metric needs it.
    """

    probability: Scores
    masked_probability: Scores | None = None
    maps: NDArray[np.float32] | None = None
    second_maps: NDArray[np.float32] | None = None


class Metric(ABC):
    """A measure of explanations.

    Attributes:
        name: as asked for and stored.
        title: the head of its column in tables.
        higher_is_better: which end of the range is the good one.
        value_range: the least and the greatest value possible.
        needs: what `score` reads beside p(x) and the maps.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    higher_is_better: ClassVar[bool]
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[Need]] = frozenset()

    @abstractmethod
    def score(self, explained: Explained) -> Scores:
        """The value of each image, [N] float64."""

    def dataset(self, values: Mapping[str, Scores]) -> dict[str, float]:
        """The figures of a data set from the values of its images, by metric.

        `values` holds this metric's own values, and those of its parts where it has some; at
        least one image. The default is the mean, under the metric's name.
        """
        return {self.name: float(values[self.name].mean())}


class CompositeMetric(Metric):
    """A metric computed from the values of others, which are scored once for all.

    Attributes:
        parts: the metrics it is computed from.
    """

    parts: ClassVar[tuple[Metric, ...]]

    @abstractmethod
    def combine(self, values: Mapping[str, Scores]) -> Scores:
        """The value of each image from those of the parts, [N] float64."""

    def score(self, explained: Explained) -> Scores:
        return self.combine({part.name: part.score(explained) for part in self.parts})


def masked_probability(explained: Explained) -> Scores:
    """p(e), for a metric that declares MASKED_SCORE."""
    if explained.masked_probability is None:
        raise ValueError("a metric reads p(e), which was not computed: is it in its `needs`?")
    return explained.masked_probability


def maps(explained: Explained) -> NDArray[np.float32]:
    """M, [N, H, W]."""
    if explained.maps is None:
        raise ValueError("a metric reads the maps, which were not given")
    return explained.maps


def second_maps(explained: Explained) -> NDArray[np.float32]:
    """CAM_c(e), for a metric that declares SECOND_MAP."""
    if explained.second_maps is None:
        raise ValueError("a metric reads CAM(e), which was not computed: is it in its `needs`?")
    return explained.second_maps
