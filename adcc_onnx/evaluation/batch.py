"""One batch of images under all methods: from tensors to rows of the store.

The first pass on a batch is shared by all methods. Each method's map makes an explanation map
e = x * M, and one pass on e gives both its score and its second map.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, Need
from adcc_onnx.errors import AdccError
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.explanation.equal_arrays import equal_groups
from adcc_onnx.explanation.map_sources import MapSource, first_maps, second_maps
from adcc_onnx.explanation.maps import Maps
from adcc_onnx.explanation.memory_strategy import memory_strategy
from adcc_onnx.explanation.metric_context import BatchMetricContext
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.explanation.required_passes import has_own_passes
from adcc_onnx.explanation.run_outputs import RunOutputs, run_images
from adcc_onnx.explanation.samples import Sample
from adcc_onnx.explanation.targets import LABEL, PREDICTED
from adcc_onnx.images.tensor_pictures import small_map, thumbnail
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricNeed
from adcc_onnx.metrics.scoring import score_all
from adcc_onnx.model import Model
from adcc_onnx.results.rows import ImageRow, ScoreRow

_BAD_SCORES = "the model's scores are NaN or infinite"
_BAD_EXPLANATION_SCORES = "the scores of the explanation map are NaN or infinite"
_BAD_DELETION_SCORES = "the scores of the image without its explanation map are NaN or infinite"


@dataclass
class MappedBatch:
    """One method's maps of a batch, on their way to the metrics.

    Attributes:
        name: The name of the method with its options.
        source: The source of the maps.
        metrics: The metrics that can be computed for it, by name.
        needs: What the run on the explanation maps must provide; None if no metric needs that run.
        maps: The maps.
        failures: Why images failed, by the image's index.
        seconds: The time spent so far.
    """

    name: str
    source: MapSource
    metrics: dict[str, Metric]
    needs: frozenset[Need] | None
    maps: Maps
    failures: dict[int, str]
    seconds: float


@dataclass(frozen=True)
class Batch:
    """One batch after the pass that all methods share.

    Attributes:
        model: The classifier.
        plan: The plan of the evaluation.
        samples: The N images.
        outputs: The outputs of the shared pass.
        probability: The probability of each target class, float64 [N].
        compared: The same probability in the other precision of the model's passes, if a metric
            compares it with probabilities in that precision.
        on_maps: Receives the maps of each method by its name, once they are computed.
    """

    model: Model
    plan: Plan
    samples: Sequence[Sample]
    outputs: RunOutputs
    probability: NDArray[np.float64]
    compared: NDArray[np.float64]
    on_maps: Callable[[str, Maps], None] | None = None

    @classmethod
    def observe(cls, model: Model, plan: Plan, group: Sequence[Sample]) -> Batch:
        """Run the pass that all methods share.

        Args:
            model: The classifier.
            plan: The plan of the evaluation.
            group: The images; each has a tensor.
        """
        tensors = [sample.tensor for sample in group if sample.tensor is not None]
        room = memory_strategy(model).empty((len(tensors), *tensors[0].shape))
        images = np.stack(tensors, out=room)
        seeds = [plan.key(sample.name) for sample in group]
        methods = [source for source in plan.available.values() if isinstance(source, Method)]
        outputs = run_images(model, images, _targets(plan, group), plan.needs, seeds, methods)
        with suppress(AdccError):  # Each method meets the error again, and says what failed.
            # Now, because no single method is to pay for the maps of all gradient methods.
            outputs.gradient_maps.compute(len(model.layers))
        kind = model.classifier.scores_kind
        probability = probabilities(outputs.logits, outputs.targets, kind)
        compared = probability
        if plan.compares_other_precision(model):
            compared = probabilities(outputs.logits_in_other_precision(), outputs.targets, kind)
        return cls(model, plan, group, outputs, probability, compared)

    def image_rows(self) -> list[ImageRow]:
        """Return the row of each image."""
        return [
            ImageRow(
                position=sample.position,
                name=sample.name,
                label=sample.label,
                target=int(self.outputs.targets[i]),
                predicted=int(self.outputs.predicted[i]),
                probability=float(self.probability[i]) if self._has_scores(i) else None,
                failure=None if self._has_scores(i) else _BAD_SCORES,
                thumbnail=self._thumbnail(sample),
            )
            for i, sample in enumerate(self.samples)
        ]

    def score(self, methods: Mapping[str, MapSource]) -> Iterator[list[ScoreRow]]:
        """Compute the rows of methods; a method that fails on this batch does not stop the others.

        Methods whose maps are equal bit by bit share the run on their explanation maps. If the
        batch is smaller than a run, explanation maps of several methods share a run, too.

        Args:
            methods: The sources of maps by the name of the method.

        Yields:
            The rows of one method after the other.
        """
        room = self.model.batch // len(self.samples) if self.model.any_batch else 1
        waiting: list[list[MappedBatch]] = []
        for names in _mapped_together(methods):
            mapped: list[MappedBatch] = []
            for name in names:
                found = self._map(name, methods[name])
                if isinstance(found, MappedBatch):
                    mapped.append(found)
                else:
                    yield found
            for equal in _with_equal_maps(mapped):
                if waiting and equal[0].needs != waiting[0][0].needs:
                    yield from self._scored(waiting)
                    waiting = []
                waiting.append(equal)
                if len(waiting) >= room:
                    yield from self._scored(waiting)
                    waiting = []
        yield from self._scored(waiting)

    def _map(self, name: str, source: MapSource) -> MappedBatch | list[ScoreRow]:
        """Compute the maps of a method; returns rows of failures if it fails on all images."""
        if name in self.plan.unavailable:
            return self._all_failed(name, self.plan.unavailable[name])
        start = time.perf_counter()
        try:
            maps = first_maps(source, self.outputs, self._names)
        except AdccError as error:
            return self._all_failed(name, str(error))
        if self.on_maps is not None:
            self.on_maps(name, maps)
        metrics, needs = self.plan.metrics_of(source), self.plan.needs_again(source)
        failures = {int(i): maps.reason(int(i)) for i in np.flatnonzero(maps.failed)}
        seconds = time.perf_counter() - start
        return MappedBatch(name, source, metrics, needs, maps, failures, seconds)

    def _scored(self, groups: Sequence[Sequence[MappedBatch]]) -> Iterator[list[ScoreRow]]:
        """Iterate over the rows of methods whose explanation maps share a run.

        Args:
            groups: The methods; those of one group have equal maps.
        """
        start = time.perf_counter()
        methods = [mapped for group in groups for mapped in group]
        try:
            reruns = self._run_on_explanation_maps([group[0] for group in groups])
        except AdccError as error:
            yield from (self._all_failed(mapped.name, str(error)) for mapped in methods)
            return
        share = (time.perf_counter() - start) / max(len(methods), 1)
        for group, rerun in zip(groups, reruns, strict=True):
            yield from self._measured_group(group, rerun, share)

    def _measured_group(
        self, group: Sequence[MappedBatch], rerun: RunOutputs | None, seconds: float
    ) -> Iterator[list[ScoreRow]]:
        """Iterate over the rows of methods with equal maps, each of which took some seconds."""
        start = time.perf_counter()
        try:
            deleted = self._without_explanation(group)
        except AdccError as error:
            yield from (self._all_failed(mapped.name, str(error)) for mapped in group)
            return
        seconds += (time.perf_counter() - start) / len(group)
        for mapped in group:
            mapped.seconds += seconds
            try:
                yield self._measured(mapped, rerun, deleted)
            except AdccError as error:
                yield self._all_failed(mapped.name, str(error))

    def _run_on_explanation_maps(
        self, methods: Sequence[MappedBatch]
    ) -> Sequence[RunOutputs] | Sequence[None]:
        if not methods or methods[0].needs is None:
            return [None] * len(methods)
        maps = [mapped.maps.small for mapped in methods]
        return self.outputs.on_explanation_maps(maps, self._fill, methods[0].needs)

    def _measured(
        self, mapped: MappedBatch, rerun: RunOutputs | None, deleted: Float64Array | None
    ) -> list[ScoreRow]:
        """Return the rows with the value of every metric of one method."""
        start = time.perf_counter()
        masked, second = (None, None) if rerun is None else self._second(mapped, rerun)
        context = BatchMetricContext(mapped.source, self.outputs)
        explained = ExplainedBatch(
            self._reference(mapped.source),
            masked,
            mapped.maps.small,
            second,
            self._truth(),
            mapped.maps.passes,
            context,
            self.model.size,
            deleted,
        )
        values = score_all(mapped.metrics, explained)
        failures = {**context.failures, **mapped.failures}
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
                context.curves[i],
                None if masked is None else float(masked[i]),
                self._heatmap(mapped.maps, i),
                int(mapped.maps.passes[i]),
            )
            for i in range(len(self.samples))
            if self._has_scores(i)
        ]

    def _second(
        self, mapped: MappedBatch, rerun: RunOutputs
    ) -> tuple[Float64Array, Float32Array | None]:
        """Return p(e) and the second maps (None if no metric needs them), and add failures."""
        masked = probabilities(rerun.logits, rerun.targets, self.model.classifier.scores_kind)
        broken = np.logical_not(np.isfinite(masked))
        second = None
        if any(MetricNeed.SECOND_MAP in metric.needs for metric in mapped.metrics.values()):
            found = second_maps(mapped.source, rerun, self._names)
            second = found.small
            for image, reason in found.reasons.items():
                mapped.failures.setdefault(image, reason)
            broken = np.logical_or(broken, found.failed)
        for i in np.flatnonzero(broken):
            mapped.failures.setdefault(int(i), _BAD_EXPLANATION_SCORES)
        return masked, second

    def _reference(self, source: MapSource) -> Float64Array:
        """Return p(x) in the precision of the scores that metrics compare it with."""
        kind = self.plan.compared_pass(source)
        is_cheaper = self.model.pool.is_cheaper
        if kind is None or is_cheaper(kind) == is_cheaper(self.outputs.kind):
            return self.probability
        return self.compared

    def _without_explanation(self, group: Sequence[MappedBatch]) -> Float64Array | None:
        """Return p(x * (1 - M)) of equal maps, and add failures; None if no metric needs it."""
        if not self.plan.needs_deleted_score(group[0].source):
            return None
        # Upsampling keeps constants, so 1 - up(M) is up(1 - M).
        inverse = (1.0 - group[0].maps.small).astype(np.float32)
        (rerun,) = self.outputs.on_explanation_maps([inverse], self._fill, frozenset())
        deleted = probabilities(rerun.logits, rerun.targets, self.model.classifier.scores_kind)
        for i in np.flatnonzero(~np.isfinite(deleted)):
            for mapped in group:
                mapped.failures.setdefault(int(i), _BAD_DELETION_SCORES)
        return deleted

    @property
    def _names(self) -> list[str]:
        return [sample.name for sample in self.samples]

    @property
    def _fill(self) -> Float32Array:
        """The normalized values of fully masked pixels, [C]."""
        if self.plan.fill != "black":
            return np.zeros(self.model.classifier.channels, np.float32)
        return self.model.require_preprocessing().black()

    def _truth(self) -> NDArray[np.bool_] | None:
        if not self.plan.truth:
            return None
        nowhere = np.zeros(self.model.size, bool)
        return np.stack([nowhere if s.truth is None else s.truth for s in self.samples])

    def _thumbnail(self, sample: Sample) -> bytes | None:
        if not self.plan.thumbnails or sample.tensor is None:
            return None
        return thumbnail(sample.tensor, self.model.preprocessing)

    def _heatmap(self, maps: Maps, i: int) -> NDArray[np.float16] | None:
        """Return the map of one image, reduced if it is larger than the stored maps may be."""
        return small_map(maps.small[i]) if self.plan.thumbnails else None

    def _has_scores(self, i: int) -> bool:
        return bool(np.isfinite(self.probability[i]))

    def _all_failed(self, method: str, reason: str) -> list[ScoreRow]:
        images = [i for i in range(len(self.samples)) if self._has_scores(i)]
        return [self._failed(i, method, reason) for i in images]

    def _failed(self, i: int, method: str, reason: str) -> ScoreRow:
        return ScoreRow(self.samples[i].position, method, False, reason, {})


def _mapped_together(methods: Mapping[str, MapSource]) -> list[list[str]]:
    """Split methods into those whose maps are computed before any of them is scored.

    These are the methods without passes of their own. The rows of any other method are finished
    before the next one runs, since it may take minutes.
    """
    slow = [n for n, method in methods.items() if has_own_passes(method.needs)]
    return [[name for name in methods if name not in slow], *([name] for name in slow)]


def _with_equal_maps(methods: Sequence[MappedBatch]) -> list[list[MappedBatch]]:
    """Group methods that need the same outputs on the same explanation maps."""
    maps, kinds = [one.maps.small for one in methods], [one.needs for one in methods]
    return [[methods[index] for index in group] for group in equal_groups(maps, kinds)]


def _targets(plan: Plan, group: Sequence[Sample]) -> NDArray[np.int64] | None:
    if plan.target == PREDICTED:
        return None
    chosen = [sample.label if plan.target == LABEL else plan.target for sample in group]
    return np.array(chosen, np.int64)
