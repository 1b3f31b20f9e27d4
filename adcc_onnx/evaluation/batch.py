"""One batch of images under all methods: from tensors to rows of the store.

The first pass on a batch is shared by all methods. Each method's map makes an explanation map
e = x * M, and one pass on e gives both its score and its second map.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, Need
from adcc_onnx.errors import AdccError
from adcc_onnx.evaluation.plan import LABEL, PREDICTED, Plan
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.maps import Maps, maps_of
from adcc_onnx.explanation.metric_context import BatchMetricContext
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.explanation.ready_maps import ReadyMaps
from adcc_onnx.explanation.samples import Sample
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricNeed
from adcc_onnx.metrics.scoring import score_all
from adcc_onnx.model import Model
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.runtime.pinned_memory import host_array

_BROKEN_EXPLANATION = "the scores of the explanation map are NaN or infinite"


@dataclass
class Mapped:
    """One method's maps of a batch.

    Attributes:
        name: of the method, as asked for.
        metrics: those that can be had of it.
        needs: what the run on the explanation maps shows; None where no metric needs that run.
        first: what the method saw.
        failures: why images failed, by their numbers.
        seconds: taken so far.
    """

    name: str
    method: Method
    metrics: dict[str, Metric]
    needs: frozenset[Need] | None
    first: BatchContext
    maps: Maps
    failures: dict[int, str]
    seconds: float


@dataclass(frozen=True)
class Batch:
    """One observed batch: what all methods share."""

    model: Model
    plan: Plan
    samples: Sequence[Sample]
    first: BatchContext
    probability: NDArray[np.float64]

    @classmethod
    def observe(cls, model: Model, plan: Plan, group: Sequence[Sample]) -> Batch:
        """Run the shared first pass."""
        tensors = [sample.tensor for sample in group if sample.tensor is not None]
        room = host_array((len(tensors), *tensors[0].shape), model.device)
        images = np.stack(tensors, out=room)
        keys = [plan.key(sample.name) for sample in group]
        targets, methods = _targets(plan, group), plan.methods.values()
        first = BatchContext(model, images, targets, plan.needs, keys, methods)
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

    def score(self, methods: Mapping[str, Method]) -> Iterator[list[ScoreRow]]:
        """The rows of one method after the other; its failure on this batch ends no run.

        A batch smaller than a run takes leaves room in it for several methods' explanation maps.
        """
        room = self.model.batch // len(self.samples) if self.model.any_batch else 1
        waiting: list[Mapped] = []
        for name, method in methods.items():
            try:
                mapped = self._map(name, method)
            except AdccError as error:
                yield self._all_failed(name, error)
                continue
            if waiting and mapped.needs != waiting[0].needs:
                yield from self._scored(waiting)
                waiting = []
            waiting.append(mapped)
            if len(waiting) >= room:
                yield from self._scored(waiting)
                waiting = []
        yield from self._scored(waiting)

    def _map(self, name: str, method: Method) -> Mapped:
        """The method's maps."""
        start = time.perf_counter()
        metrics = self.plan.metrics_of(method)
        needs = self.plan.needs_again(method)
        first = self.first.anew()
        maps = self._maps(method, first)
        failures = {int(i): maps.reason(int(i)) for i in np.flatnonzero(maps.failed)}
        seconds = time.perf_counter() - start
        return Mapped(name, method, metrics, needs, first, maps, failures, seconds)

    def _scored(self, group: Sequence[Mapped]) -> Iterator[list[ScoreRow]]:
        """The rows of methods whose explanation maps share a run."""
        start = time.perf_counter()
        try:
            seen = self._seen_again(group)
        except AdccError as error:
            yield from (self._all_failed(mapped.name, error) for mapped in group)
            return
        share = (time.perf_counter() - start) / max(len(group), 1)
        for mapped, again in zip(group, seen, strict=True):
            mapped.seconds += share
            try:
                yield self._measured(mapped, again)
            except AdccError as error:
                yield self._all_failed(mapped.name, error)

    def _seen_again(self, group: Sequence[Mapped]) -> Sequence[BatchContext | None]:
        """What the model shows of each method's explanation maps."""
        if not group or group[0].needs is None:
            return [None] * len(group)
        maps = [mapped.maps.small for mapped in group]
        return self.first.on_explanation_maps(maps, self._fill, group[0].needs)

    def _measured(self, mapped: Mapped, seen: BatchContext | None) -> list[ScoreRow]:
        """The value of every metric that the method can have."""
        start = time.perf_counter()
        masked, second = (None, None) if seen is None else self._second(mapped, seen)
        view = BatchMetricContext(self.model, mapped.method, mapped.first)
        explained = ExplainedBatch(
            self.probability,
            masked,
            mapped.maps.small,
            second,
            self._truth(),
            mapped.first.passes,
            view,
            self.model.size,
        )
        values = score_all(mapped.metrics, explained)
        failures = {**view.failures, **mapped.failures}
        seconds = (mapped.seconds + time.perf_counter() - start) / len(self.samples)
        return [
            self._failed(i, mapped.name, failures[i])
            if i in failures
            else ScoreRow(
                self.samples[i].position,
                mapped.name,
                bool(mapped.maps.degenerate[i]),
                None,
                {m: float(of[i]) for m, of in values.items() if not np.isnan(of[i])},
                seconds,
                view.curves[i],
            )
            for i in range(len(self.samples))
            if self._sound(i)
        ]

    def _second(
        self, mapped: Mapped, seen: BatchContext
    ) -> tuple[Float64Array, Float32Array | None]:
        """(p(e), CAM_c(e)), the latter None where no metric needs it; adds to the failures."""
        masked = probabilities(seen.logits, seen.targets, self.model.classifier.scores_kind)
        broken = np.logical_not(np.isfinite(masked))
        second = None
        if any(MetricNeed.SECOND_MAP in metric.needs for metric in mapped.metrics.values()):
            found = self._maps(mapped.method, seen, second=True)
            second = found.small
            for image, reason in found.reasons.items():
                mapped.failures.setdefault(image, reason)
            broken = np.logical_or(broken, found.failed)
        for i in np.flatnonzero(broken):
            mapped.failures.setdefault(int(i), _BROKEN_EXPLANATION)
        return masked, second

    @property
    def _fill(self) -> Float32Array:
        """What shows where a map is 0, a value a channel."""
        if self.plan.fill != "black":
            return np.zeros(self.model.classifier.channels, np.float32)
        assert self.model.preprocessing is not None
        return self.model.preprocessing.normalize(np.zeros((1, 1, 3), np.uint8)).reshape(-1)

    def _maps(self, method: Method, seen: BatchContext, second: bool = False) -> Maps:
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

    def _all_failed(self, method: str, error: AdccError) -> list[ScoreRow]:
        sound = [i for i in range(len(self.samples)) if self._sound(i)]
        return [self._failed(i, method, str(error)) for i in sound]

    def _failed(self, i: int, method: str, reason: str) -> ScoreRow:
        return ScoreRow(self.samples[i].position, method, False, reason, {})


def _targets(plan: Plan, group: Sequence[Sample]) -> NDArray[np.int64] | None:
    if plan.target == PREDICTED:
        return None
    chosen = [sample.label if plan.target == LABEL else plan.target for sample in group]
    return np.array(chosen, np.int64)
