"""Two models on the same images: outputs, layers, maps and scores side by side.

The models are two files of one network, such as the exports of two frameworks, or a model and its
quantized, pruned or optimized form. Both explain the same class of each image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import (
    AdccError,
    ImageError,
    InterruptedRunError,
    ModelError,
    OptionError,
    first_reasons,
)
from adcc_onnx.evaluation.batch import Batch
from adcc_onnx.evaluation.pipeline import Graceful, check, never_stopped
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.explanation.maps import Maps
from adcc_onnx.explanation.probability import all_probabilities
from adcc_onnx.explanation.samples import Sample, prefetch
from adcc_onnx.explanation.targets import LABEL
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.kernels.similarity import pearson
from adcc_onnx.model import Model
from adcc_onnx.results.quality_gate import corrected_for
from adcc_onnx.results.ranking import MethodValues, align_images
from adcc_onnx.results.rows import RunProgress, ScoreRow
from adcc_onnx.results.score_definitions import Score, scores_of
from adcc_onnx.runtime.passes import RunStoppedError
from adcc_onnx.statistics.paired_tests import (
    PairedDifference,
    paired_difference,
    paired_differences,
)
from adcc_onnx.statistics.resampling import Resampling, means
from adcc_onnx.studies.layer_walk import LayerWalk, rounding_of, walk_layers

WALKED_IMAGES = 8  # the layers of more images are not compared
_LARGEST_ROUNDING = 5e-3  # of probabilities, maps and scores, whatever the precision is


@dataclass(frozen=True)
class OutputDifference:
    """The difference of the outputs of two models.

    Attributes:
        largest: Largest absolute difference of the probability of any class of any image.
        mean: Mean absolute difference of the probability of the explained class.
        probability: Difference of the mean probability of the explained class.
        same_prediction: Number of images for which both models predict the same class.
    """

    largest: float
    mean: float
    probability: PairedDifference
    same_prediction: int


@dataclass(frozen=True)
class MapDifference:
    """The difference of the maps of one method.

    Attributes:
        method: Name of the method.
        images: Number of images that both models have a map of.
        correlation: Mean of Pearson's r of the two maps of an image; -1 where one is constant.
        lowest: Smallest of these.
        mean: Mean absolute difference of the maps, which lie in [0, 1].
        largest: Largest absolute difference of a pixel.
    """

    method: str
    images: int
    correlation: float
    lowest: float
    mean: float
    largest: float


@dataclass(frozen=True)
class ScoreDifference:
    """The difference of one score of one method.

    Attributes:
        method: Name of the method.
        score: The score.
        first: Score of the first model.
        second: Score of the second model.
        difference: The second score minus the first, with its interval.
    """

    method: str
    score: Score
    first: float
    second: float
    difference: PairedDifference

    @property
    def is_significant(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        ends = self.difference.interval
        return ends is not None and not ends[0] <= 0.0 <= ends[1]


@dataclass(frozen=True)
class ModelComparison:
    """The differences of two models on the same images; `compare_models` returns them.

    Attributes:
        first: Name of the first model.
        second: Name of the second model.
        layers: Names of the explained layers of the two models.
        images: Number of images that both models were run on.
        planned: Number of images of the source.
        failures: Reasons of the images that could not be compared, by the image's name.
        target: The explained class: "predicted" (by the first model), "label" or a class index.
        outputs: The difference of the outputs.
        walk: The differences along the matched layers.
        maps: The differences of the maps, by method.
        scores: The differences of the scores, by method and score.
        confidence: Confidence level of each interval, corrected for the number of differences.
        notes: What could not be compared, in sentences.
        interrupted: Whether the user stopped the comparison before the last image.
    """

    first: str
    second: str
    layers: tuple[str, str]
    images: int
    planned: int
    failures: dict[str, str]
    target: str | int
    outputs: OutputDifference
    walk: LayerWalk
    maps: list[MapDifference]
    scores: list[ScoreDifference]
    confidence: float
    notes: list[str]
    interrupted: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs by more than rounding.

        Average increase counts which of two probabilities is larger, which rounding can reverse.
        """
        size = min(self.walk.rounding, _LARGEST_ROUNDING)
        return (
            self.outputs.largest <= size
            and self.outputs.same_prediction == self.images
            and self.walk.parting is None
            and all(one.mean <= size for one in self.maps)
            and all(
                abs(one.difference.value) <= size
                for one in self.scores
                if one.score.metric.name != "average_increase"
            )
        )

    def exceeding(self, limit: float) -> list[str]:
        """Return the differences that are larger than a limit, one sentence each.

        Only fractions are compared: scores without a bound, such as infidelity, are not.

        Args:
            limit: The largest accepted difference, as a fraction.
        """
        found = [
            f"{one.method}: {one.score.name} differs by {one.difference.value:+.4f}"
            for one in self.scores
            if one.score.is_fraction and abs(one.difference.value) > limit
        ]
        found += [
            f"{one.method}: the maps differ by {one.mean:.4f} on average"
            for one in self.maps
            if one.mean > limit
        ]
        if self.outputs.mean > limit:
            found.append(
                f"the probability of the explained class differs by {self.outputs.mean:.4f} on "
                "average"
            )
        other = 1.0 - self.outputs.same_prediction / self.images
        if other > limit:
            found.append(f"the predicted class differs for a fraction of {other:.4f} of the images")
        return found


def require_same_task(first: Model, second: Model) -> None:
    """Check that the outputs and maps of two models can be compared.

    Args:
        first: The first model.
        second: The second model.

    Raises:
        OptionError: The models have other classes, other input sizes or other channels.
    """
    counts = [model.classifier.classes for model in (first, second)]
    if counts[0] != counts[1]:
        hint = "; one of them may have a background class" if 1001 in counts else ""
        raise OptionError(
            f"{first.name} has {counts[0]} classes and {second.name} has {counts[1]}: they are not "
            f"models of the same task{hint}"
        )
    sizes = [f"{model.size[0]} x {model.size[1]}" for model in (first, second)]
    if sizes[0] != sizes[1]:
        raise OptionError(
            f"{first.name} takes images of {sizes[0]} pixels and {second.name} of {sizes[1]}: "
            "their maps cannot be compared pixel by pixel"
        )
    channels = [model.classifier.channels for model in (first, second)]
    if channels[0] != channels[1]:
        raise OptionError(
            f"{first.name} takes {channels[0]} channels and {second.name} {channels[1]}"
        )
    if first.labels and second.labels and first.labels != second.labels:
        index, names = next(
            (i, pair)
            for i, pair in enumerate(zip(first.labels, second.labels, strict=False))
            if pair[0] != pair[1] or i == min(len(first.labels), len(second.labels)) - 1
        )
        raise OptionError(
            f"class {index} is '{names[0]}' in {first.name} and '{names[1]}' in {second.name}: "
            "they are not models of the same task"
        )


def compare(
    first: Model,
    second: Model,
    source: Source,
    plan: Plan,
    resampling: Resampling | None = None,
    tracker: RunTracker | None = None,
    graceful: Graceful = never_stopped,
) -> ModelComparison:
    """Compare two models; see `ModelComparison`.

    Args:
        first: The first model.
        second: The second model, of the same task.
        source: The images.
        plan: The methods, the metrics and the explained class; "predicted" is the class that the
            first model predicts.
        resampling: Settings of the intervals.
        tracker: Receives the progress in images.
        graceful: Opens the part of the work that can be stopped; the images that are finished then
            are compared.

    Returns:
        The comparison.

    Raises:
        OptionError: The models are not of the same task.
        ImageError: No image could be compared.
    """
    require_same_task(first, second)
    notes: list[str] = []
    interrupted = False
    chosen = plan.for_model(first)
    plans = []
    for model in (first, second):
        check(model, source, chosen)
        own, problem = _available(model, chosen)
        plans.append(own)
        notes += problem
    work = _Work((first, second), (plans[0], replace(plans[1], target=LABEL)))
    tracker = tracker or RunTracker(f"{first.name}, {second.name}", len(source))
    with graceful() as stop, ExitStack() as stack:
        streams = [
            stack.enter_context(prefetch(source, model, RunProgress(set(), {}), plan.truth))
            for model in (first, second)
        ]
        try:
            for chunk in _chunks(zip(*streams, strict=True), max(first.batch, second.batch)):
                with tracker.part(len(chunk), stop):
                    work.add(chunk)
                tracker.advance(len(chunk))
        except RunStoppedError:
            interrupted = True
    if not work.names:
        if interrupted:
            raise InterruptedRunError("interrupted; no image was compared yet")
        reasons = first_reasons(work.failures.values())
        raise ImageError(f"no image could be compared: {reasons}")
    found = work.result(len(source), chosen.target, notes, resampling or Resampling())
    return replace(found, interrupted=interrupted)


def _available(model: Model, plan: Plan) -> tuple[Plan, list[str]]:
    """Return the plan of a model; without methods, and a note, if it cannot be explained."""
    try:
        return plan.mark_unavailable(model), []
    except ModelError as error:
        reason = f"the maps of {model.name} could not be computed: {error}"
        return replace(plan, unavailable=dict.fromkeys(plan.methods, str(error))), [reason]


def _chunks(
    pairs: Iterable[tuple[Sample, Sample]], size: int
) -> Iterator[list[tuple[Sample, Sample]]]:
    iterator = iter(pairs)
    while chunk := list(islice(iterator, size)):
        yield chunk


# The rows of each method.
_Rows = dict[str, list[ScoreRow]]


@dataclass
class _Work:
    """What the images add up to.

    Attributes:
        models: The two models.
        plans: Their plans; the second one explains the labels, which are those of the first run.
        names: The compared images.
        failures: The reasons of the others.
    """

    models: tuple[Model, Model]
    plans: tuple[Plan, Plan]
    names: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    _probabilities: list[Float64Array] = field(default_factory=list)
    _largest: float = 0.0
    _same: int = 0
    _walked: list[tuple[NDArray[np.float32], NDArray[np.float32], int]] = field(
        default_factory=list
    )
    _rows: tuple[_Rows, _Rows] = field(default_factory=lambda: ({}, {}))
    _maps: dict[str, list[Float64Array]] = field(default_factory=lambda: defaultdict(list))

    def add(self, chunk: Sequence[tuple[Sample, Sample]]) -> None:
        """Run both models on some images."""
        pairs = []
        for one, other in chunk:
            reason = one.failure or other.failure
            if self.plans[0].target == LABEL and one.label is None:
                reason = reason or "the image has no label that the model knows"
            if reason is None:
                pairs.append((one, other))
            else:
                self.failures[one.name] = reason
        if not pairs:
            return
        found: tuple[dict[str, Maps], dict[str, Maps]] = ({}, {})
        first = self._run(0, [one for one, _ in pairs], found[0])
        targets = first.outputs.targets
        others = [replace(b, label=int(c)) for (_, b), c in zip(pairs, targets, strict=True)]
        second = self._run(1, others, found[1])
        self._compare_outputs(first, second, pairs)
        for method in found[0].keys() & found[1].keys():
            self._compare_maps(method, found[0][method], found[1][method])

    def _run(self, which: int, samples: list[Sample], found: dict[str, Maps]) -> Batch:
        model, plan = self.models[which], self.plans[which]
        batch = replace(Batch.observe(model, plan, samples), on_maps=found.__setitem__)
        for rows in batch.score(plan.available):
            for row in rows:
                self._rows[which].setdefault(row.method, []).append(row)
        return batch

    def _compare_outputs(
        self, first: Batch, second: Batch, pairs: Sequence[tuple[Sample, Sample]]
    ) -> None:
        targets = first.outputs.targets
        a, b = (
            all_probabilities(batch.outputs.logits, batch.model.classifier.scores_kind)
            for batch in (first, second)
        )
        finite = [bool(np.isfinite(row).all()) for row in a + b]
        for i, (one, other) in enumerate(pairs):
            if not finite[i]:
                self.failures[one.name] = "the scores of a model are NaN or infinite"
                continue
            self.names.append(one.name)
            target = int(targets[i])
            self._probabilities.append(np.array([a[i, target], b[i, target]]))
            self._largest = max(self._largest, float(np.abs(a[i] - b[i]).max()))
            self._same += int(first.outputs.predicted[i] == second.outputs.predicted[i])
            if len(self._walked) < WALKED_IMAGES:
                assert one.tensor is not None and other.tensor is not None
                self._walked.append((one.tensor, other.tensor, target))

    def _compare_maps(self, method: str, first: Maps, second: Maps) -> None:
        kept = ~(first.failed | second.failed)
        a, b = first.maps[kept], second.maps[kept]
        gaps = np.abs(a.astype(np.float64) - b)
        rows = [pearson(a, b), gaps.mean(axis=(1, 2)), gaps.max(axis=(1, 2), initial=0.0)]
        self._maps[method].append(np.stack(rows))

    def result(
        self, planned: int, target: str | int, notes: list[str], resampling: Resampling
    ) -> ModelComparison:
        """Summarize the images."""
        first, second = self.models
        try:
            walk = walk_layers(first, second, self._walked)
        except AdccError as error:
            walk = LayerWalk(
                [], 0, rounding_of(first, second), f"the layers could not be compared: {error}"
            )
        notes = [*notes, walk.problem] if walk.problem else notes
        scores = scores_of(self.plans[0].metrics)
        tested = corrected_for(resampling, len(scores) * len(self._maps) + 1)
        return ModelComparison(
            first.name,
            second.name,
            tuple(" ".join(layer.name for layer in m.layers) for m in self.models),  # type: ignore
            len(self.names),
            planned,
            self.failures,
            target,
            self._outputs(tested),
            walk,
            [_map_difference(name, parts) for name, parts in self._ordered_maps()],
            list(self._score_differences(scores.values(), tested)),
            tested.confidence,
            notes,
        )

    def _ordered_maps(self) -> Iterator[tuple[str, list[Float64Array]]]:
        for method in self.plans[0].methods:
            if method in self._maps:
                yield method, self._maps[method]

    def _outputs(self, resampling: Resampling) -> OutputDifference:
        a, b = np.array(self._probabilities).T
        difference = paired_difference(b[None], a[None], lambda m: m[0], resampling)
        return OutputDifference(self._largest, float(np.abs(b - a).mean()), difference, self._same)

    def _score_differences(
        self, scores: Iterable[Score], resampling: Resampling
    ) -> Iterator[ScoreDifference]:
        listed = list(scores)
        for method, _ in self._ordered_maps():
            ours, theirs = (_method_values(method, rows.get(method, ())) for rows in self._rows)
            yield from score_differences(ours, theirs, listed, resampling)


def score_differences(
    ours: MethodValues, theirs: MethodValues, scores: Sequence[Score], resampling: Resampling
) -> Iterator[ScoreDifference]:
    """Compute the differences of all scores of one method.

    Args:
        ours: The values of the first model.
        theirs: The values of the second model.
        scores: The scores.
        resampling: Settings of the intervals.

    Yields:
        The differences on the images that have all values of a score in both models.
    """
    aligned = [align_images([ours, theirs], score.columns) for score in scores]
    masks = [~np.isnan(a - b).any(axis=0) for a, b in aligned]
    for mask in {one.tobytes(): one for one in masks}.values():
        # Scores on the same images share the resampled images, which take most of the time.
        group = [i for i, one in enumerate(masks) if np.array_equal(one, mask)]
        if not mask.any():
            continue
        values = [aligned[i][:, :, mask] for i in group]
        found = paired_differences(values, [scores[i].from_means for i in group], resampling)
        for i, (a, b), difference in zip(group, values, found, strict=True):
            one, other = (float(scores[i].from_means(means(v))[0]) for v in (a, b))
            yield ScoreDifference(ours.name, scores[i], one, other, difference)


def _map_difference(method: str, parts: Sequence[Float64Array]) -> MapDifference:
    correlations, gaps, largest = np.concatenate(parts, axis=1)
    if not len(gaps):
        return MapDifference(method, 0, float("nan"), float("nan"), float("nan"), float("nan"))
    return MapDifference(
        method,
        len(gaps),
        float(correlations.mean()),
        float(correlations.min()),
        float(gaps.mean()),
        float(largest.max()),
    )


def _method_values(name: str, rows: Iterable[ScoreRow]) -> MethodValues:
    scored = [row for row in rows if row.failure is None]
    columns = dict.fromkeys(column for row in scored for column in row.values)
    values = {
        column: np.array([row.values.get(column, np.nan) for row in scored]) for column in columns
    }
    return MethodValues(name, np.array([row.position for row in scored]), values)
