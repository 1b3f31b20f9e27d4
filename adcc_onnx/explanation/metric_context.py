"""The model as metrics see it: scores and maps of changed versions of the explained images."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Floats, Method
from adcc_onnx.explanation.batch_context import Observation
from adcc_onnx.explanation.maps import maps_of
from adcc_onnx.graph.programs.instrument import BASELINE, COUNTS, IMAGE, LOGITS, RANKS
from adcc_onnx.metrics.metric import Need, Scores
from adcc_onnx.model import Model, Pass

# The sessions that show what metrics need.
PASSES = {Need.OTHER_SCORES: Pass.FORWARD, Need.REPLACED_SCORES: Pass.RANKED}
# Beside the streams 0 and 1 that methods draw from.
_STREAM = 2


class MetricView:
    """See `metrics.metric.View`.

    Attributes:
        failures: why an image has no sound values, by its number.
        curves: what metrics kept of each image, by its number.
    """

    def __init__(self, model: Model, method: Method, first: Observation) -> None:
        self.failures: dict[int, str] = {}
        self.curves: defaultdict[int, dict[str, Scores]] = defaultdict(dict)
        self._reader = ""
        self._model = model
        self._first = first
        self._method = method

    @property
    def images(self) -> Floats:
        return self._first.images

    def scores(self, image: int, others: Floats) -> Scores:
        seen = self._model.session(PASSES[Need.OTHER_SCORES]).run({IMAGE: others})
        return self._probability(image, seen[LOGITS])

    def replaced_scores(
        self, image: int, ranks: NDArray[np.int64], counts: NDArray[np.int64], baseline: Floats
    ) -> Scores:
        return self._ranked(image, self.images[image], baseline, ranks, counts)

    def restored_scores(
        self, image: int, ranks: NDArray[np.int64], counts: NDArray[np.int64], baseline: Floats
    ) -> Scores:
        return self._ranked(image, baseline, self.images[image], ranks, counts)

    def maps(self, others: Floats) -> Floats:
        seen = self._first.of_others(others, self._method.needs)
        found = maps_of(self._method, seen, self._model.fuse)
        for image in np.flatnonzero(found.failed):
            self.failures[int(image)] = "the map of a changed image holds NaN or infinite values"
        return found.maps

    def generators(self) -> list[np.random.Generator]:
        return [np.random.default_rng([key, _STREAM]) for key in self._first.keys]

    def begin(self, metric: str) -> None:
        self._reader = metric

    def keep(self, image: int, curve: Scores) -> None:
        self.curves[image][self._reader] = curve

    def _ranked(
        self,
        image: int,
        before: Floats,
        after: Floats,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> Scores:
        shared = {
            IMAGE: before[None],
            BASELINE: after[None],
            RANKS: ranks[None, None].astype(np.float32),
        }
        session = self._model.session(PASSES[Need.REPLACED_SCORES])
        seen = session.run({COUNTS: counts.astype(np.float32)}, shared)
        return self._probability(image, seen[LOGITS])

    def _probability(self, image: int, logits: Floats) -> Scores:
        p = self._first.probability(image, logits)
        if not np.isfinite(p).all():
            self.failures[image] = "the scores of a changed image are NaN or infinite"
        return p
