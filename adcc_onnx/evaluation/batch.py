"""One batch of images under all methods: from tensors to rows of the store.

The first pass on a batch is shared by all methods. Each method's map makes an explanation map
e = x * M, and one pass on e gives both its score and its second map.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Floats, Method
from adcc_onnx.cams.method import Need as CamNeed
from adcc_onnx.errors import AdccError
from adcc_onnx.evaluation.evidence import Observation
from adcc_onnx.evaluation.maps import Maps, maps_of
from adcc_onnx.evaluation.plan import LABEL, PREDICTED, Plan
from adcc_onnx.evaluation.probability import probabilities
from adcc_onnx.evaluation.ready_maps import ReadyMaps
from adcc_onnx.evaluation.store import ImageRow, ScoreRow
from adcc_onnx.evaluation.stream import Sample
from adcc_onnx.evaluation.view import MetricView
from adcc_onnx.metrics.metric import Explained, Metric, Need, Scores
from adcc_onnx.metrics.registry import score_all
from adcc_onnx.model import Model

_BROKEN_EXPLANATION = "the scores of the explanation map are NaN or infinite"


@dataclass
class Measured:
    """What one method and the metrics gave for a batch; `failures` by the images' numbers."""

    maps: Maps
    values: dict[str, Scores]
    failures: dict[int, str]
    view: MetricView


@dataclass(frozen=True)
class Batch:
    """One observed batch: what all methods share."""

    model: Model
    plan: Plan
    samples: Sequence[Sample]
    first: Observation
    probability: NDArray[np.float64]

    @classmethod
    def observe(cls, model: Model, plan: Plan, group: Sequence[Sample]) -> Batch:
        """Run the shared first pass."""
        images = np.stack([s.tensor for s in group if s.tensor is not None])
        keys = [plan.key(sample.name) for sample in group]
        targets, methods = _targets(plan, group), plan.methods.values()
        first = Observation(model, images, targets, plan.needs, keys, methods)
        probability = probabilities(first.logits, first.targets, model.classifier.scores_kind)
        return cls(model, plan, group, first, probability)

    def image_rows(self) -> list[ImageRow]:
        return [
            ImageRow(
                position=sample.position,
                name=sample.name,
                label=sample.label,
                target=int(self.first.targets[i]),
                predicted=int(self.first.predicted[i]),
                probability=float(self.probability[i]) if self._sound(i) else None,
                failure=None if self._sound(i) else "the model's scores are NaN or infinite",
            )
            for i, sample in enumerate(self.samples)
        ]

    def score(self, name: str, method: Method) -> list[ScoreRow]:
        """The rows of one method; its failure on this batch never ends the run."""
        start = time.perf_counter()
        try:
            measured = self._measure(method)
        except AdccError as error:
            rows = [self._failed(i, name, str(error)) for i in range(len(self.samples))]
            return [row for i, row in enumerate(rows) if self._sound(i)]
        seconds = (time.perf_counter() - start) / len(self.samples)
        return [
            self._row(i, name, measured, seconds)
            for i in range(len(self.samples))
            if self._sound(i)
        ]

    def _row(self, i: int, name: str, measured: Measured, seconds: float) -> ScoreRow:
        if i in measured.failures:
            return self._failed(i, name, measured.failures[i])
        values = {metric: float(scores[i]) for metric, scores in measured.values.items()}
        return ScoreRow(
            self.samples[i].position,
            name,
            bool(measured.maps.degenerate[i]),
            None,
            {metric: value for metric, value in values.items() if not np.isnan(value)},
            seconds,
            measured.view.curves[i],
        )

    def _measure(self, method: Method) -> Measured:
        """The method's maps, and the value of every metric that it can have."""
        metrics = self.plan.metrics_of(method)
        first = self.first.anew()
        maps = self._maps(method, first)
        failures = {int(i): maps.reason(int(i)) for i in np.flatnonzero(maps.failed)}
        view = MetricView(self.model, method, first)
        masked, second = self._explanation(method, metrics, maps, failures)
        explained = Explained(
            self.probability,
            masked,
            maps.small,
            second,
            self._truth(),
            first.passes,
            view,
            self.model.size,
        )
        values = score_all(metrics, explained)
        return Measured(maps, values, {**view.failures, **failures}, view)

    def _explanation(
        self,
        method: Method,
        metrics: dict[str, Metric],
        maps: Maps,
        failures: dict[int, str],
    ) -> tuple[Scores | None, Floats | None]:
        """(p(e), CAM_c(e)), each None where no metric needs it; adds to the failures."""
        needs: frozenset[Need] = frozenset().union(*(metric.needs for metric in metrics.values()))
        if not needs & {Need.MASKED_SCORE, Need.SECOND_MAP}:
            return None, None
        again = Need.SECOND_MAP in needs
        shown = method.needs if again else frozenset[CamNeed]()
        seen = self.first.of_explanations(maps.small, self._fill, shown)
        masked = probabilities(seen.logits, seen.targets, self.model.classifier.scores_kind)
        broken = np.logical_not(np.isfinite(masked))
        second = None
        if again:
            found = self._maps(method, seen, second=True)
            second = found.small
            for image, reason in found.reasons.items():
                failures.setdefault(image, reason)
            broken = np.logical_or(broken, found.failed)
        for i in np.flatnonzero(broken):
            failures.setdefault(int(i), _BROKEN_EXPLANATION)
        return masked, second

    @property
    def _fill(self) -> Floats:
        """What shows where a map is 0, a value a channel."""
        if self.plan.fill != "black":
            return np.zeros(self.model.classifier.channels, np.float32)
        assert self.model.preprocessing is not None
        return self.model.preprocessing.normalise(np.zeros((1, 1, 3), np.uint8)).reshape(-1)

    def _maps(self, method: Method, seen: Observation, second: bool = False) -> Maps:
        if isinstance(method, ReadyMaps):
            names = [sample.name for sample in self.samples]
            return method.read(names, self.model.size, second)
        return maps_of(method, seen, self.model.fuse)

    def _truth(self) -> NDArray[np.bool_] | None:
        if not self.plan.truth:
            return None
        nowhere = np.zeros(self.model.size, bool)
        places = [nowhere if s.truth is None else s.truth for s in self.samples]
        return np.stack(places)

    def _sound(self, i: int) -> bool:
        return bool(np.isfinite(self.probability[i]))

    def _failed(self, i: int, method: str, reason: str) -> ScoreRow:
        return ScoreRow(self.samples[i].position, method, False, reason, {})


def _targets(plan: Plan, group: Sequence[Sample]) -> NDArray[np.int64] | None:
    if plan.target == PREDICTED:
        return None
    chosen = [sample.label if plan.target == LABEL else plan.target for sample in group]
    return np.array(chosen, np.int64)
