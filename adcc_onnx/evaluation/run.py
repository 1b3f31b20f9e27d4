"""The evaluation itself: batch by batch from tensors to rows of the store.

The first pass on a batch is shared by all methods. Each method's map makes an explanation map
e = x * M, and one pass on e gives both its score and its second map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Floats, Method
from adcc_onnx.errors import AdccError
from adcc_onnx.evaluation.evidence import Observation, pass_for
from adcc_onnx.evaluation.maps import Maps, maps_of
from adcc_onnx.evaluation.plan import LABEL, PREDICTED, Plan
from adcc_onnx.evaluation.probability import probabilities
from adcc_onnx.evaluation.store import ImageRow, ScoreRow, Store
from adcc_onnx.evaluation.stream import (
    Sample,
    batches,
    require_preprocessing,
    samples,
    tensor_of,
)
from adcc_onnx.images.sources import Source
from adcc_onnx.metrics.metric import Explained
from adcc_onnx.metrics.registry import score_all
from adcc_onnx.model import Model

Progress = Callable[[int], None]


def evaluate_into(
    store: Store,
    model: Model,
    source: Source,
    plan: Plan,
    described_as: str,
    progress: Progress = lambda images: None,
) -> int:
    """Evaluate every image of the source that the store does not hold yet.

    Args:
        store: takes the rows as they come.
        model, source, plan: what to evaluate, on what, and how; as `check` let them pass.
        described_as: the source in the run's record.
        progress: called with the number of images just finished.

    Returns:
        The run's number in the store.
    """
    run = store.begin(plan.config(model, described_as))
    done = store.finished_images(run)
    progress(len(done))
    for group in batches(samples(source, model, done), model.batch):
        images, scores = evaluate_batch(model, plan, group)
        store.write(run, images, scores)
        progress(len(group))
    store.finish(run)
    return run


def check(model: Model, source: Source, plan: Plan) -> None:
    """Whether the evaluation can run at all; called before anything is written.

    Raises:
        OptionError: the target is no class of the model.
        PreprocessingError: the images cannot become the model's tensors.
        ModelError: there is no such layer, or the way from it cannot be differentiated.
    """
    _check_target(plan, model)
    require_preprocessing(source, model)
    if source.ready:
        tensor_of(next(iter(source)), True, model)
    model.session(pass_for(plan.needs))


def _check_target(plan: Plan, model: Model) -> None:
    """A class given by index must be one of the model's."""
    if isinstance(plan.target, int):
        model.classifier.require_class(plan.target)


def evaluate_batch(
    model: Model, plan: Plan, group: Sequence[Sample]
) -> tuple[list[ImageRow], list[ScoreRow]]:
    """The rows of one group of samples; those that failed get a row with the reason."""
    usable, rows = [], []
    for sample in group:
        reason = sample.failure or _target_trouble(plan, sample)
        if reason is None:
            usable.append(sample)
        else:
            rows.append(_failed_image(sample, reason))
    if not usable:
        return rows, []
    batch = Batch.observe(model, plan, usable)
    image_rows = batch.image_rows()
    scores = [row for name, method in plan.methods.items() for row in batch.score(name, method)]
    return sorted([*rows, *image_rows], key=lambda row: row.position), scores


@dataclass(frozen=True)
class Batch:
    """One observed batch: what all methods share."""

    model: Model
    plan: Plan
    samples: Sequence[Sample]
    keys: Sequence[int]
    first: Observation
    probability: NDArray[np.float64]

    @classmethod
    def observe(cls, model: Model, plan: Plan, group: Sequence[Sample]) -> Batch:
        """Run the shared first pass."""
        images = np.stack([s.tensor for s in group if s.tensor is not None])
        keys = [plan.key(sample.name) for sample in group]
        first = Observation(model, images, _targets(plan, group), plan.needs, keys)
        probability = probabilities(first.logits, first.targets, model.classifier.scores_kind)
        return cls(model, plan, group, keys, first, probability)

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
        try:
            maps, values, sound = self._measure(method)
        except AdccError as error:
            return [self._failed(i, name, str(error)) for i in range(len(self.samples))]
        rows = []
        for i, sample in enumerate(self.samples):
            if not self._sound(i):
                continue
            if maps.failed[i]:
                rows.append(self._failed(i, name, "the map holds NaN or infinite values"))
            elif not sound[i]:
                reason = "the scores of the explanation map are NaN or infinite"
                rows.append(self._failed(i, name, reason))
            else:
                figures = {metric: float(scores[i]) for metric, scores in values.items()}
                rows.append(
                    ScoreRow(sample.position, name, bool(maps.degenerate[i]), None, figures)
                )
        return rows

    def _measure(
        self, method: Method
    ) -> tuple[Maps, dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
        """(maps, value of every metric, whether the second pass gave finite numbers)."""
        plan, maps = self.plan, maps_of(method, self.first, self.model.fuse)
        masked = second = None
        sound: NDArray[np.bool_] = np.ones(len(self.samples), bool)
        if plan.masked_score or plan.second_map:
            explanation: Floats = self.first.images * maps.maps[:, None]
            needs = method.needs if plan.second_map else frozenset()
            seen = Observation(
                self.model, explanation, self.first.targets, needs, self.keys, self.first.images
            )
            kind = self.model.classifier.scores_kind
            masked = probabilities(seen.logits, seen.targets, kind)
            sound = np.isfinite(masked)
            if plan.second_map:
                again = maps_of(method, seen, self.model.fuse)
                second = again.maps
                sound = np.logical_and(sound, np.logical_not(again.failed))
        explained = Explained(self.probability, masked, maps.maps, second)
        return maps, score_all(plan.metrics, explained), sound

    def _sound(self, i: int) -> bool:
        return bool(np.isfinite(self.probability[i]))

    def _failed(self, i: int, method: str, reason: str) -> ScoreRow:
        return ScoreRow(self.samples[i].position, method, False, reason, {})


def _targets(plan: Plan, group: Sequence[Sample]) -> NDArray[np.int64] | None:
    if plan.target == PREDICTED:
        return None
    chosen = [sample.label if plan.target == LABEL else plan.target for sample in group]
    return np.array(chosen, np.int64)


def _target_trouble(plan: Plan, sample: Sample) -> str | None:
    if plan.target == LABEL and sample.label is None:
        return "it has no label that the model knows, and the target is the label"
    return None


def _failed_image(sample: Sample, reason: str) -> ImageRow:
    return ImageRow(sample.position, sample.name, sample.label, None, None, None, reason)
