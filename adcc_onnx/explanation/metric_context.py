"""The model as metrics see it: scores and maps of changed versions of the explained images."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.maps import maps_of
from adcc_onnx.graph.programs.tensor_names import BASELINE, COUNTS, IMAGE, LOGITS, RANKS
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import MetricNeed
from adcc_onnx.model import Model, Pass

# The sessions that show what metrics need.
PASSES = {MetricNeed.OTHER_SCORES: Pass.FORWARD, MetricNeed.REPLACED_SCORES: Pass.RANKED}
# Beside the streams 0 and 1 that methods draw from.
_STREAM = 2


class BatchMetricContext:
    """See `metrics.metric.View`.

    Attributes:
        failures: why an image has no sound values, by its number.
        curves: what metrics kept of each image, by its number.
    """

    def __init__(self, model: Model, method: Method, first: BatchContext) -> None:
        self.failures: dict[int, str] = {}
        self.curves: defaultdict[int, dict[str, Float64Array]] = defaultdict(dict)
        self._reader = ""
        self._model = model
        self._first = first
        self._method = method

    @property
    def images(self) -> Float32Array:
        return self._first.images

    def scores(self, image: int, others: Float32Array) -> Float64Array:
        seen = self._model.session(PASSES[MetricNeed.OTHER_SCORES]).run({IMAGE: others})
        return self._probability(image, seen[LOGITS])

    def replaced_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        return self._ranked(image, self.images[image], baseline, ranks, counts)

    def restored_scores(
        self,
        image: int,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
        baseline: Float32Array,
    ) -> Float64Array:
        return self._ranked(image, baseline, self.images[image], ranks, counts)

    def maps(self, others: Float32Array) -> Float32Array:
        seen = self._first.on_images(others, self._method.needs)
        found = maps_of(self._method, seen, self._model.fuse)
        for image in np.flatnonzero(found.failed):
            self.failures[int(image)] = "the map of a changed image holds NaN or infinite values"
        return found.maps

    def rngs(self) -> list[np.random.Generator]:
        return [np.random.default_rng([key, _STREAM]) for key in self._first.keys]

    def begin(self, metric: str) -> None:
        self._reader = metric

    def keep(self, image: int, curve: Float64Array) -> None:
        self.curves[image][self._reader] = curve

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
        session = self._model.session(PASSES[MetricNeed.REPLACED_SCORES])
        seen = session.run({COUNTS: counts.astype(np.float32)}, shared)
        return self._probability(image, seen[LOGITS])

    def _probability(self, image: int, logits: Float32Array) -> Float64Array:
        p = self._first.probability(image, logits)
        if not np.isfinite(p).all():
            self.failures[image] = "the scores of a changed image are NaN or infinite"
        return p
