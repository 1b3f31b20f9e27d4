"""The `MetricContext` of the metrics of one method on one batch of images."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.explanation.map_sources import (
    MapSource,
    maps_of_changed_images,
    maps_of_other_classes,
)
from adcc_onnx.explanation.maps import Maps
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.explanation.run_outputs import RunOutputs
from adcc_onnx.graph.programs.tensor_names import BASELINE, COUNTS, IMAGE, LOGITS, RANKS
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import MetricNeed
from adcc_onnx.runtime.passes import Pass

# The passes that metrics run themselves.
PASSES = {MetricNeed.OTHER_SCORES: Pass.FORWARD, MetricNeed.REPLACED_SCORES: Pass.RANKED}
_STREAM = 2  # of random numbers; methods draw from the streams 0 and 1


class BatchMetricContext:
    """What metrics read from the model; see `metrics.metric.MetricContext`.

    Args:
        source: The source of the maps.
        outputs: The outputs of the run on the images.

    Attributes:
        failures: Why images have no valid values, by the image's index.
        curves: The curves that metrics keep, by the image's index and the metric's name.
    """

    def __init__(self, source: MapSource, outputs: RunOutputs) -> None:
        self.failures: dict[int, str] = {}
        self.curves: defaultdict[int, dict[str, Float64Array]] = defaultdict(dict)
        self._metric = ""
        self._source, self._outputs = source, outputs
        self._pool = outputs.model.pool

    @property
    def images(self) -> Float32Array:
        """The normalized input tensors, [N, C, H, W]."""
        return self._outputs.input.array

    @property
    def logits(self) -> Float32Array:
        """The logits of all classes, [N, classes]."""
        return self._outputs.logits

    @property
    def targets(self) -> NDArray[np.int64]:
        """The explained class of each image, [N]."""
        return self._outputs.targets

    def scores(self, image: int, others: Float32Array) -> Float64Array:
        """Return the probability of an image's target class on other images, [M].

        Args:
            image: The index of the image.
            others: The other images, [M, C, H, W].
        """
        session = self._pool.session(PASSES[MetricNeed.OTHER_SCORES])
        return self._probability(image, session.run({IMAGE: others})[LOGITS])

    def replaced_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """Return the probabilities of an image with its first pixels replaced, [T].

        Args:
            image: The index of the image.
            ranks: The rank of each pixel in the order of replacement, [H, W].
            counts: The numbers of replaced pixels, [T].
            baseline: The image that replaces pixels, [C, H, W].
        """
        return self._ranked(image, self.images[image], baseline, ranks, counts)

    def restored_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        """Return the probabilities of a baseline with the image's first pixels restored, [T].

        Args:
            image: The index of the image.
            ranks: The rank of each pixel in the order of restoration, [H, W].
            counts: The numbers of restored pixels, [T].
            baseline: The image to start from, [C, H, W].
        """
        return self._ranked(image, baseline, self.images[image], ranks, counts)

    def maps(self, others: Float32Array) -> Float32Array:
        """Return the maps of changed images with the same classes, [N, H, W].

        Args:
            others: The changed images, [N, C, H, W].
        """
        found = maps_of_changed_images(self._source, self._outputs, others)
        return self._checked(found, "a changed image")

    def class_maps(self, classes: NDArray[np.int64]) -> Float32Array:
        """Return the maps of the images for other classes, [N, H, W].

        Args:
            classes: The other classes, [N].
        """
        found = maps_of_other_classes(self._source, self._outputs, classes)
        return self._checked(found, "another class")

    def rngs(self) -> list[np.random.Generator]:
        """Return a random generator per image, the same in any batch, order or process."""
        return [np.random.default_rng([seed, _STREAM]) for seed in self._outputs.seeds]

    def begin(self, metric: str) -> None:
        """Set the metric that keeps curves from now on.

        Args:
            metric: The name of the metric with its options.
        """
        self._metric = metric

    def keep(self, image: int, curve: Float64Array) -> None:
        """Keep a curve of the current metric.

        Args:
            image: The index of the image.
            curve: The values of the curve.
        """
        self.curves[image][self._metric] = curve

    def _checked(self, found: Maps, what: str) -> Float32Array:
        for image in np.flatnonzero(found.failed):
            self.failures[int(image)] = f"the map of {what} holds NaN or infinite values"
        return found.maps

    def _ranked(
        self,
        image: int,
        before: Float32Array,
        after: Float32Array,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> Float64Array:
        shared = {
            IMAGE: before[None],
            BASELINE: after[None],
            RANKS: ranks[None, None].astype(np.float32),
        }
        session = self._pool.session(PASSES[MetricNeed.REPLACED_SCORES])
        outputs = session.run({COUNTS: counts.astype(np.float32)}, shared)
        return self._probability(image, outputs[LOGITS])

    def _probability(self, image: int, logits: Float32Array) -> Float64Array:
        targets = np.full(len(logits), self._outputs.targets[image])
        p = probabilities(logits, targets, self._outputs.model.classifier.scores_kind)
        if not np.isfinite(p).all():
            self.failures[image] = "the scores of a changed image are NaN or infinite"
        return p
