"""What a metric is: what it needs to see, and how it scores one explanation.

A metric never loads a model or makes a map; it reads `Explained` and returns one number an image.
Figures are fractions unless their metric says otherwise.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.kernels.upsample import upsample, upsampled_similarity


class MetricNeed(enum.Enum):
    """What a metric must be shown beside the map; the evaluation computes only that."""

    MASKED_SCORE = "the score of the explanation map"
    SECOND_MAP = "the map of the explanation map"
    OTHER_SCORES = "scores of changed images"
    REPLACED_SCORES = "scores of images whose pixels are replaced, first to last"
    OTHER_MAPS = "maps of changed images"
    TRUTH = "where the object is"


class MetricContext(Protocol):
    """The model, as metrics may use it on the N explained images.

    Every score is p, the probability of the image's explained class.
    """

    @property
    def images(self) -> Float32Array:
        """x, the normalized input tensors, [N, C, H, W]."""

    def scores(self, image: int, others: Float32Array) -> Float64Array:
        """p of the class of image number `image` on other images [M, C, H, W]: [M]."""

    def replaced_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """p of image number `image` with its first pixels replaced by those of a baseline: [T].

        Args:
            ranks: the place of each pixel in the order of replacement, [H, W].
            counts: how many pixels are replaced, [T].
            baseline: [C, H, W].
        """

    def restored_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """The same the other way round: p of the baseline with the image's first pixels in it."""

    def maps(self, others: Float32Array) -> Float32Array:
        """The same method's maps of other images [N, C, H, W], the classes kept: [N, H, W]."""

    def rngs(self) -> list[np.random.Generator]:
        """A source of random numbers an image, the same whatever the batch, order or process."""

    def begin(self, metric: str) -> None:
        """Say which metric, by what was asked, reads from now on."""

    def keep(self, image: int, curve: Float64Array) -> None:
        """Keep a curve of image number `image` with the figures of the metric that reads."""


@dataclass(frozen=True)
class Explained:
    """N images, explained: x the image, c its class, M = CAM_c(x), e = x * M.

    Attributes:
        probability: p(x), the probability of c, [N] float64.
        masked_probability: p(e), [N] float64; None where no metric needs it.
        maps: M in [0, 1], [N, h, w] float32 of any h and w; None where no metric needs it.
        second_maps: CAM_c(e), likewise; None where no metric needs it.
        truth: where the object is, [N, H, W] bool; all False where that is not known.
        passes: runs of the model on an image that its map took, [N]; backward runs count as one.
        view: the model, for metrics that need scores or maps of changed images.
        size: (H, W) of the images; that of the maps where it is None.
    """

    probability: Float64Array
    masked_probability: Float64Array | None = None
    maps: Float32Array | None = None
    second_maps: Float32Array | None = None
    truth: NDArray[np.bool_] | None = None
    passes: NDArray[np.int64] | None = None
    context: MetricContext | None = None
    size: tuple[int, int] | None = None

    @cached_property
    def large_maps(self) -> Float32Array:
        """M at the images' size, [N, H, W]."""
        found = _given(self.maps, "the maps")
        return upsample(found, self.size or found.shape[1:])

    @cached_property
    def agreement(self) -> tuple[Float64Array, Float64Array]:
        """Pearson's r of M and CAM_c(e) at the images' size, -1 where undefined; and mean |M|."""
        first = _given(self.maps, "the maps")
        second = _given(self.second_maps, "CAM(e)")
        return upsampled_similarity(first, second, self.size or first.shape[1:])


class Metric(ABC):
    """A measure of explanations; its options are the arguments of its constructor.

    Attributes:
        name: as asked for and stored.
        title: the head of its column in tables.
        summary: one line for a list of metrics.
        higher_is_better: which end of the range is the good one.
        value_range: the least and the greatest value possible.
        needs: what `score` reads beside p(x) and the maps.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str] = ""
    higher_is_better: ClassVar[bool]
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset()

    @abstractmethod
    def score(self, explained: Explained) -> Float64Array:
        """The value of each image, [N] float64; NaN where the image has none."""

    def aggregate(self, means: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
        """The figures of data sets from the means over their images, by name.

        `means` holds the mean of this metric's own values under its name, and those of its parts
        where it has some, one for each of R data sets (a bootstrap makes many): [R]. The default
        is the mean itself.
        """
        return {self.name: means[self.name]}


class CompositeMetric(Metric):
    """A metric computed from the values of others, which are scored once for all.

    Attributes:
        parts: the metrics it is computed from.
    """

    parts: ClassVar[tuple[Metric, ...]]

    @abstractmethod
    def combine(self, values: Mapping[str, Float64Array]) -> Float64Array:
        """The value of each image from those of the parts, [N] float64."""

    def score(self, explained: Explained) -> Float64Array:
        return self.combine({part.name: part.score(explained) for part in self.parts})


def masked_probability(explained: Explained) -> Float64Array:
    """p(e), for a metric that declares MASKED_SCORE."""
    return _given(explained.masked_probability, "p(e)")


def maps(explained: Explained) -> Float32Array:
    """M, [N, H, W]."""
    return explained.large_maps


def truth(explained: Explained) -> NDArray[np.bool_]:
    """Where the object is, [N, H, W], for a metric that declares TRUTH."""
    return _given(explained.truth, "the truth")


def context(explained: Explained) -> MetricContext:
    """The model, for a metric that declares OTHER_SCORES, REPLACED_SCORES or OTHER_MAPS."""
    return _given(explained.context, "the model")


_Value = TypeVar("_Value")


def _given(value: _Value | None, what: str) -> _Value:
    if value is None:
        raise ValueError(f"a metric reads {what}, which was not given: is it in its `needs`?")
    return value
