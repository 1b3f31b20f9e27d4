"""A metric's context made of arrays and functions, to try a metric without a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array, Float64Array


def _no_class_map(classes: NDArray[np.int64]) -> Float32Array:
    raise ValueError("a metric reads maps of classes, which ArrayMetricContext was not given")


def _no_map(images: Float32Array) -> Float32Array:
    raise ValueError("a metric reads maps, which ArrayMetricContext was not given")


@dataclass
class ArrayMetricContext:
    """A `MetricContext` of given images and functions, for examples and tests of your own metrics.

    Attributes:
        images: The input tensors x, [N, C, H, W].
        score: The score p in [0, 1], [M], of images [M, C, H, W].
        map_of: Maps [N, H, W] of images [N, C, H, W].
        curves: The curves that metrics stored, by metric and image index.
        logits: The logits of all classes, [N, classes].
        class_map_of: Maps [N, H, W] of the images for classes [N].

    Example:
        >>> context = ArrayMetricContext(
        ...     np.ones((1, 1, 1, 2), np.float32), score=lambda images: images.mean(axis=(1, 2, 3))
        ... )
        >>> ranks, counts = np.array([[0, 1]]), np.array([0, 1, 2])
        >>> context.replaced_scores(0, ranks, counts, np.zeros((1, 1, 2), np.float32))
        array([1. , 0.5, 0. ])
    """

    images: Float32Array
    score: Callable[[Float32Array], NDArray[np.floating]]
    map_of: Callable[[Float32Array], Float32Array] = _no_map
    curves: dict[tuple[str, int], Float64Array] = field(default_factory=dict)
    logits: Float32Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    class_map_of: Callable[[NDArray[np.int64]], Float32Array] = _no_class_map
    _metric: str = ""

    @property
    def targets(self) -> NDArray[np.int64]:
        """The explained classes, which are those with the highest logit, [N]."""
        targets: NDArray[np.int64] = self.logits.argmax(axis=1)
        return targets

    def scores(self, image: int, others: Float32Array) -> Float64Array:
        """The score p of other images, [M]."""
        return self.score(others).astype(np.float64)

    def replaced_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """The score p of one image with its first pixels replaced, [T]."""
        return self._mixed_scores(self.images[image], baseline, ranks, counts)

    def restored_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """The score p of a baseline with the image's first pixels restored, [T]."""
        return self._mixed_scores(baseline, self.images[image], ranks, counts)

    def maps(self, others: Float32Array) -> Float32Array:
        """The maps of other images, [N, H, W]."""
        return self.map_of(others)

    def class_maps(self, classes: NDArray[np.int64]) -> Float32Array:
        """The maps of the images for other classes, [N, H, W]."""
        return self.class_map_of(classes)

    def rngs(self) -> list[np.random.Generator]:
        """A random generator per image, seeded by its index."""
        return [np.random.default_rng(i) for i in range(len(self.images))]

    def begin(self, metric: str) -> None:
        """Set the metric whose curves are stored."""
        self._metric = metric

    def keep(self, image: int, curve: Float64Array) -> None:
        """Store a curve of the current metric."""
        self.curves[self._metric, image] = curve

    def _mixed_scores(
        self,
        before: Float32Array,
        after: Float32Array,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> Float64Array:
        images = [np.where(ranks < count, after, before) for count in counts]
        return self.scores(0, np.stack(images))
