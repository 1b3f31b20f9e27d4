"""The interface of metrics: what they read, and the scores of explanations that they return.

A metric never loads a model and never computes a map. It reads an `ExplainedBatch` and returns one
number per image. Scores are fractions unless the metric's range says otherwise.
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
    """What a metric reads in addition to p(x) and the map; only declared needs are computed."""

    MASKED_SCORE = "the score of the explanation map"
    DELETED_SCORE = "the score of the image without its explanation map"
    SECOND_MAP = "the map of the explanation map"
    OTHER_SCORES = "scores of changed images"
    REPLACED_SCORES = "scores of images whose pixels are replaced, first to last"
    OTHER_MAPS = "maps of changed images"
    OTHER_CLASS_MAPS = "maps of other classes"
    TRUTH = "where the object is"


class MetricContext(Protocol):
    """The model, as metrics may use it on the N explained images.

    Every score is p, the probability of the image's explained class.
    """

    @property
    def images(self) -> Float32Array:
        """The preprocessed input tensors x, [N, C, H, W]."""

    @property
    def logits(self) -> Float32Array:
        """The logits of all classes, [N, classes]."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """The explained class c of each image, [N]."""

    def scores(self, image: int, others: Float32Array) -> Float64Array:
        """The score p of one image's class on other images.

        Args:
            image: Index of the image in the batch.
            others: The other images, [M, C, H, W].

        Returns:
            [M].
        """

    def replaced_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """The score p of one image whose first pixels are replaced by those of a baseline.

        Args:
            image: Index of the image in the batch.
            ranks: Position of each pixel in the order of replacement, [H, W].
            counts: Numbers of pixels to replace, [T].
            baseline: The baseline, [C, H, W].

        Returns:
            [T].
        """

    def restored_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """The score p of a baseline whose first pixels are replaced by those of one image.

        Args:
            image: Index of the image in the batch.
            ranks: Position of each pixel in the order of replacement, [H, W].
            counts: Numbers of pixels to restore, [T].
            baseline: The baseline, [C, H, W].

        Returns:
            [T].
        """

    def maps(self, others: Float32Array) -> Float32Array:
        """The same method's maps, [N, H, W], of other images [N, C, H, W] for the same classes."""

    def class_maps(self, classes: NDArray[np.int64]) -> Float32Array:
        """The same method's maps, [N, H, W], of the same images for other classes [N]."""

    def rngs(self) -> list[np.random.Generator]:
        """A random generator per image, independent of the batch, the order and the process."""

    def begin(self, metric: str) -> None:
        """Set the metric, by its name with options, whose curves `keep` stores."""

    def keep(self, image: int, curve: Float64Array) -> None:
        """Store a curve of one image with the current metric's scores."""


@dataclass(frozen=True)
class ExplainedBatch:
    """N images with one method's maps: x the image, c its class, M = CAM_c(x), e = x * M.

    Attributes:
        probability: The probability p(x) of c, [N] float64.
        masked_probability: The probability p(e), [N] float64; None if no metric needs it.
        maps: The maps M in [0, 1], [N, h, w] float32 for any h and w; None if no metric needs them.
        second_maps: The maps CAM_c(e), [N, h, w] float32; None if no metric needs them.
        truth: Whether each pixel belongs to the object, [N, H, W] bool; all False if unknown.
        passes: Model passes per image that its map took, [N]; a pass with backward counts as one.
        context: The model, for metrics that need scores or maps of changed images.
        size: Height and width of the images; those of the maps if it is None.
        deleted_probability: The probability p(x * (1 - M)), [N] float64; None if no metric needs
            it.

    Example:
        >>> batch = ExplainedBatch(np.array([0.8]), maps=np.eye(2, dtype=np.float32)[None])
        >>> batch.full_size_maps.shape
        (1, 2, 2)
        >>> batch.require_masked_probability()
        Traceback (most recent call last):
        ValueError: a metric reads p(e), which was not given: is it in its `needs`?
    """

    probability: Float64Array
    masked_probability: Float64Array | None = None
    maps: Float32Array | None = None
    second_maps: Float32Array | None = None
    truth: NDArray[np.bool_] | None = None
    passes: NDArray[np.int64] | None = None
    context: MetricContext | None = None
    size: tuple[int, int] | None = None
    deleted_probability: Float64Array | None = None

    @cached_property
    def full_size_maps(self) -> Float32Array:
        """The maps M at the images' size, [N, H, W]."""
        found = _given(self.maps, "the maps")
        return upsample(found, self.size or found.shape[1:])

    @cached_property
    def map_similarity(self) -> tuple[Float64Array, Float64Array]:
        """Pearson's r of M and CAM_c(e) at the images' size, -1 where undefined; and mean |M|."""
        first = _given(self.maps, "the maps")
        second = _given(self.second_maps, "CAM(e)")
        return upsampled_similarity(first, second, self.size or first.shape[1:])

    def require_masked_probability(self) -> Float64Array:
        """The probability p(e), [N], for a metric that declares MASKED_SCORE."""
        return _given(self.masked_probability, "p(e)")

    def require_deleted_probability(self) -> Float64Array:
        """The probability p(x * (1 - M)), [N], for a metric that declares DELETED_SCORE."""
        return _given(self.deleted_probability, "p(x * (1 - M))")

    def require_truth(self) -> NDArray[np.bool_]:
        """The pixels of the object, [N, H, W], for a metric that declares TRUTH."""
        return _given(self.truth, "the truth")

    def require_context(self) -> MetricContext:
        """The model, for a metric that needs scores or maps of changed images."""
        return _given(self.context, "the model")


class Metric(ABC):
    """Base class of metrics; the arguments of the constructor are the metric's options.

    Attributes:
        name: Name in requests and in results.
        title: Heading of its column in tables.
        summary: One line for lists of metrics.
        limits: What the metric does not say, in one or two sentences for reports.
        higher_is_better: Whether high scores are the good ones.
        value_range: The smallest and the largest possible value.
        needs: Everything that `score` reads in addition to p(x) and the maps.

    Example:
        >>> class Peak(Metric):
        ...     name, title, higher_is_better = "peak", "Peak", True
        ...     def score(self, explained):
        ...         return explained.full_size_maps.max(axis=(1, 2)).astype(np.float64)
        >>> maps = np.array([[[0.25, 0.5]]], np.float32)
        >>> Peak().score(ExplainedBatch(np.ones(1), maps=maps))
        array([0.5])
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str] = ""
    limits: ClassVar[str] = ""
    higher_is_better: ClassVar[bool]
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset()

    @abstractmethod
    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The value of each image, [N] float64; NaN for an image without a value."""

    def aggregate(self, means: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
        """The scores of R datasets from the means over their images; by default, the mean.

        Args:
            means: Means of this metric's values and of those of its parts, by name, [R] each. A
                bootstrap passes many datasets at once.

        Returns:
            The scores by name, [R] each.
        """
        return {self.name: means[self.name]}


class CompositeMetric(Metric):
    """A metric computed from the values of other metrics, each of which is scored once.

    Attributes:
        parts: The metrics from which it is computed.
    """

    parts: ClassVar[tuple[Metric, ...]]

    @abstractmethod
    def combine(self, values: Mapping[str, Float64Array]) -> Float64Array:
        """The value of each image from those of the parts by name, [N] float64."""

    def score(self, explained: ExplainedBatch) -> Float64Array:
        """The value of each image, [N] float64."""
        return self.combine({part.name: part.score(explained) for part in self.parts})


_Value = TypeVar("_Value")


def _given(value: _Value | None, what: str) -> _Value:
    if value is None:
        raise ValueError(f"a metric reads {what}, which was not given: is it in its `needs`?")
    return value
