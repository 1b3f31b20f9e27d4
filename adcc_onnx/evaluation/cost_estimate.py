"""An estimate of what an evaluation takes, made before its first image.

Every method and every metric runs once on a random image. Their own passes are counted and
answered with random scores; only the first pass of each kind is run and measured.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, Need
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.durations import duration_text
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.run_tracker import Expected
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.equal_arrays import equal_groups
from adcc_onnx.explanation.map_sources import MapSource, first_maps
from adcc_onnx.explanation.metric_context import BatchMetricContext
from adcc_onnx.explanation.required_passes import OWN_PASSES, has_own_passes, pass_for
from adcc_onnx.explanation.run_outputs import RunOutputs, run_images
from adcc_onnx.graph.programs.tensor_names import GRADIENTS, layer_output
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, MetricNeed
from adcc_onnx.metrics.metric_registry import get_metric
from adcc_onnx.metrics.scoring import score_all
from adcc_onnx.model import Model
from adcc_onnx.options import call_text
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.session import Arrays

LONG_RUN_SECONDS = 600.0  # a longer run is announced
_BUDGET_SECONDS = 5.0  # for counting the passes of one method
_FEWER = 4  # the proposed option takes this fraction of the passes
# The options of methods that limit their passes, in the order in which they are proposed.
_OPTIONS = ("passes", "masks", "steps", "n")
_METRIC_NEEDS = {
    MetricNeed.OTHER_SCORES,
    MetricNeed.REPLACED_SCORES,
    MetricNeed.OTHER_MAPS,
    MetricNeed.OTHER_CLASS_MAPS,
}


@dataclass(frozen=True)
class Estimate:
    """What an evaluation takes per image.

    Attributes:
        shared: The passes that all methods share, by the kind of pass.
        methods: The passes of each method, without those of metrics of changed images.
        metrics: The passes of each metric of changed images, for all methods together.
        seconds: The seconds of one pass, by the kind of pass.
    """

    shared: Counter[Pass]
    methods: Mapping[str, Counter[Pass]]
    metrics: Mapping[str, Counter[Pass]]
    seconds: Mapping[Pass, float]

    @property
    def expected(self) -> Expected:
        """All passes of one image."""
        whole = Counter(self.shared)
        for part in [*self.methods.values(), *self.metrics.values()]:
            whole.update(part)
        return Expected(dict(whole), self.seconds)


def estimate(model: Model, plan: Plan) -> Estimate:
    """Count the passes of one image, and measure one pass of each kind.

    Args:
        model: The model; its sessions should be open.
        plan: The plan.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> from adcc_onnx.evaluation.plan import make_plan
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> found = estimate(model, make_plan(["gradcam"], ["deletion(steps=10)"]))
        >>> found.shared, found.metrics["deletion(steps=10)"]
        (Counter({<Pass.GRADIENTS: 'scores, activations and gradients'>: 1}), \
Counter({<Pass.RANKED: 'scores of one image with its first pixels replaced'>: 11}))
    """
    clock = _Clock(model)
    methods = [one for one in plan.available.values() if isinstance(one, Method)]
    rng = np.random.default_rng(0)

    def run(samples: int) -> RunOutputs:
        images = rng.standard_normal((samples, model.classifier.channels, *model.size), np.float32)
        targets = np.zeros(samples, np.int64)
        return run_images(model, images, targets, plan.needs, [0] * samples, methods)

    # One image is enough on a CPU, where a larger batch gains little.
    on_cpu = model.device.kind == "cpu" and model.any_batch
    kind = pass_for(plan.needs)
    outputs = run(1)
    clock.time(kind, 1 if on_cpu else model.batch, run)
    of_methods: dict[str, Counter[Pass]] = {}
    of_metrics: dict[str, Counter[Pass]] = {}
    sharing = _sharing(plan, outputs)
    for name, source in plan.available.items():
        own = _own_passes(source, outputs, clock)
        of_methods[name] = own + (Counter() if name in sharing else _second_run(plan, source, own))
        for metric, passes in _metric_passes(plan, source, outputs, own, clock).items():
            of_metrics.setdefault(metric, Counter()).update(passes)
    shared = Counter({kind: 1})
    if plan.compares_other_precision(model):
        clock.measure(Pass.FORWARD, 1, lambda samples: outputs.logits_in_other_precision())
        shared[Pass.FORWARD] += 1
    return Estimate(shared, of_methods, of_metrics, clock.seconds)


def long_run_notice(found: Estimate, images: int, at_most: bool = False) -> str | None:
    """Return what to tell the user about a run of more than ten minutes; None for a shorter one.

    Args:
        found: What one image takes.
        images: The number of images.
        at_most: Whether the run may stop after fewer images.
    """
    expected = found.expected
    seconds = expected.unit_seconds * images
    if seconds <= LONG_RUN_SECONDS:
        return None
    shares = {
        name: sum(expected.cost(kind) * count for kind, count in passes.items())
        for name, passes in [*found.methods.items(), *found.metrics.items()]
    }
    most = max(shares, key=lambda name: shares[name])
    limit = max(1, int(LONG_RUN_SECONDS / expected.unit_seconds))
    kind = "method" if most in found.methods else "metric"
    passes = (found.methods if most in found.methods else found.metrics)[most].total()
    cheaper = cheaper_option(most, kind, passes)
    options = f"--{kind} '{cheaper.text}' or --limit {limit}" if cheaper else f"--limit {limit}"
    return (
        f"this run will take {'at most ' if at_most else ''}about {duration_text(seconds)} for "
        f"{images} images; {most} takes "
        f"{100 * shares[most] / expected.unit_seconds:.0f} % of it ({passes} passes per image). "
        f"Faster: {options}"
    )


class _Clock:
    """Measures the first pass of each kind.

    Attributes:
        seconds: The seconds of one pass in the whole run, by the kind of pass.
    """

    def __init__(self, model: Model) -> None:
        self._batch, self._concurrent_runs = model.batch, model.settings.concurrent_runs
        self.seconds: dict[Pass, float] = {}

    def measure(self, kind: Pass, samples: int, run: Callable[[int], object]) -> None:
        """Measure a pass, unless its kind is known; a run before it warms up.

        Args:
            kind: The kind of pass.
            samples: The number of samples that can be run at most.
            run: A function that runs a number of samples.
        """
        if kind not in self.seconds:
            run(1)
            self.time(kind, samples, run)

    def time(self, kind: Pass, samples: int, run: Callable[[int], object]) -> None:
        """Time a pass whose session has run before.

        Args:
            kind: The kind of pass.
            samples: The number of samples that can be run at most.
            run: A function that runs a number of samples.
        """
        count = min(samples, self._batch)
        start = time.perf_counter()
        run(count)
        self.seconds[kind] = (time.perf_counter() - start) / count / self._concurrent_runs


class _BudgetSpentError(Exception):
    """A method computes too long between its passes to count all of them."""


@dataclass
class _Answers:
    """Counts passes and answers them with random scores."""

    clock: _Clock
    classes: int
    passes: Counter[Pass] = field(default_factory=Counter)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    end: float = field(default_factory=lambda: time.monotonic() + _BUDGET_SECONDS)

    def logits(self, kind: Pass, count: int, run: Callable[[int], object]) -> Float32Array:
        start = time.monotonic()
        self.clock.measure(kind, count, run)
        self.end += time.monotonic() - start
        self.passes[kind] += count
        if time.monotonic() > self.end:
            raise _BudgetSpentError
        return self.rng.standard_normal((count, self.classes), np.float32)


class _CountingContext(BatchContext):
    """The context of a method, most of whose passes are only counted."""

    def __init__(self, outputs: RunOutputs, layer: int, answers: _Answers) -> None:
        super().__init__(outputs, layer)
        self._answers = answers

    def noisy_gradients(self, copies: int, sigma: float) -> Iterator[Float32Array]:
        self._require_declared(Need.NOISY_GRADIENTS)
        gradients = self._outputs.values[layer_output(GRADIENTS, self._layer)].array
        for _ in self.noise(copies, sigma):
            self._answers.passes[Pass.GRADIENTS] += 1
            yield gradients

    def masked_scores(
        self, image: int, masks: Float32Array, baseline: Float32Array | None = None
    ) -> Float32Array:
        kind = Pass.MASKED if baseline is None else Pass.BLENDED
        run = super().masked_scores
        return self._answers.logits(kind, len(masks), lambda n: run(image, masks[:n], baseline))

    def suffix_scores(self, image: int, masks: Float32Array) -> Float32Array:
        run = super().suffix_scores
        return self._answers.logits(Pass.SUFFIX, len(masks), lambda n: run(image, masks[:n]))

    def share_gradients(self, shares: Float32Array) -> tuple[Float32Array, Float32Array]:
        run = super().share_gradients
        logits = self._answers.logits(Pass.SHARE_GRADIENTS, 1, lambda n: run(shares))
        return logits, self._answers.rng.standard_normal(shares.shape, np.float32)

    def mixed_gradients(self, weights: Float32Array) -> Float32Array:
        run = super().mixed_gradients
        self._answers.logits(Pass.MIXED_GRADIENTS, 1, lambda n: run(weights))
        shape = (len(weights), *self.activations.shape[1:])
        return self._answers.rng.standard_normal(shape, np.float32)

    def _run_targeted(self, need: Need) -> Arrays:
        run = super()._run_targeted
        self._answers.logits(OWN_PASSES[need], 1, lambda n: run(need))
        return run(need)

    def _run_image_gradients(self, images: Float32Array) -> Float32Array:
        run = super()._run_image_gradients
        self._answers.logits(Pass.IMAGE_GRADIENTS, len(images), lambda n: run(images))
        return self._answers.rng.standard_normal(images.shape, np.float32)


class _CountingMetricContext(BatchMetricContext):
    """The context of a metric, most of whose passes are only counted."""

    def __init__(self, source: MapSource, outputs: RunOutputs, answers: _Answers) -> None:
        super().__init__(source, outputs)
        self._answers, self.changed_maps = answers, 0

    def scores(self, image: int, others: Float32Array) -> Float64Array:
        run = super().scores
        return self._random(Pass.FORWARD, len(others), lambda n: run(image, others[:n]))

    def _ranked(
        self,
        image: int,
        before: Float32Array,
        after: Float32Array,
        ranks: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> Float64Array:
        run = super()._ranked
        return self._random(
            Pass.RANKED, len(counts), lambda n: run(image, before, after, ranks, counts[:n])
        )

    def maps(self, others: Float32Array) -> Float32Array:
        self.changed_maps += len(others)
        shape = (len(others), *self._outputs.size)
        return self._answers.rng.random(shape, np.float32)

    def class_maps(self, classes: NDArray[np.int64]) -> Float32Array:
        return self.maps(self.images)

    def _random(self, kind: Pass, count: int, run: Callable[[int], object]) -> Float64Array:
        self._answers.logits(kind, count, run)
        return self._answers.rng.random(count)


def _own_passes(source: MapSource, outputs: RunOutputs, clock: _Clock) -> Counter[Pass]:
    """Return the passes of a method on one image, without the run that all methods share."""
    answers = _Answers(clock, outputs.logits.shape[1])
    if isinstance(source, Method) and has_own_passes(source.needs):
        for layer in range(len(outputs.model.layers)):
            try:
                source.raw_maps(_CountingContext(outputs, layer, answers))
            except _BudgetSpentError:
                kind, count = answers.passes.most_common(1)[0]
                answers.passes[kind] = max(count, _first_option(source)[1])
                break
            except Exception:
                break  # a method of the user may refuse random scores
    return answers.passes


def _sharing(plan: Plan, outputs: RunOutputs) -> set[str]:
    """Return the methods whose explanation maps are those of an earlier method."""
    names: list[str] = []
    maps: list[Float32Array] = []
    for name, source in plan.available.items():
        if isinstance(source, Method) and not has_own_passes(source.needs):
            with suppress(Exception):  # a method of the user may refuse a random image
                found = first_maps(source, outputs, [""])
                if not found.degenerate.any() and not found.failed.any():
                    names.append(name)
                    maps.append(found.small)
    kinds = [plan.needs_again(plan.available[name]) for name in names]
    return {names[index] for group in equal_groups(maps, kinds) for index in group[1:]}


def _second_run(plan: Plan, source: MapSource, own: Counter[Pass]) -> Counter[Pass]:
    """Return the passes of a method on its explanation maps and on their complements."""
    deleted = Counter({Pass.FORWARD: 1} if plan.needs_deleted_score(source) else {})
    needs = plan.needs_again(source)
    if needs is None:
        return deleted
    metrics = plan.metrics_of(source).values()
    again = any(MetricNeed.SECOND_MAP in metric.needs for metric in metrics)
    return deleted + (_repeated(source, own) if again else Counter({pass_for(needs): 1}))


def _repeated(source: MapSource, own: Counter[Pass]) -> Counter[Pass]:
    """Return the passes of a method on changed images, where it shares no run."""
    kind = pass_for(source.needs)
    passes = own + Counter({kind: 1})
    if kind is Pass.IMAGE_GRADIENTS and own[kind]:
        passes[kind] -= 1  # this run provides the gradient itself
    return passes


def _metric_passes(
    plan: Plan, source: MapSource, outputs: RunOutputs, own: Counter[Pass], clock: _Clock
) -> dict[str, Counter[Pass]]:
    """Return the passes of each metric of changed images for one image and method."""
    found = {}
    for name, metric in plan.metrics_of(source).items():
        if not metric.needs & _METRIC_NEEDS:
            continue
        answers = _Answers(clock, outputs.logits.shape[1])
        context = _CountingMetricContext(source, outputs, answers)
        p = np.full(1, 0.5)
        maps = answers.rng.random((1, *outputs.size), np.float32)
        explained = ExplainedBatch(p, p, maps, maps, context=context)
        with suppress(Exception):  # a metric of the user may refuse random maps
            score_all({name: metric}, explained)
        per_map = _repeated(source, own)
        changed = {kind: count * context.changed_maps for kind, count in per_map.items()}
        found[name] = answers.passes + Counter(changed)
    return found


@dataclass(frozen=True)
class FewerPasses:
    """A variant of a method or metric with fewer passes.

    Attributes:
        text: The name with its options.
        fraction: The part of the passes that it takes.
    """

    text: str
    fraction: float


def cheaper_option(text: str, kind: str, passes: int) -> FewerPasses | None:
    """Return a variant of a method or metric with about a fourth of the passes.

    Args:
        text: The method or metric with its options.
        kind: "method" or "metric".
        passes: The number of its passes per image.

    Returns:
        The variant; None if no option limits the passes.

    Example:
        >>> cheaper_option("rise", "method", 8000)
        FewerPasses(text='rise(masks=1000)', fraction=0.25)
    """
    try:
        instance: Any = get_method(text) if kind == "method" else get_metric(text)
    except OptionError:
        return None  # an instance that was given in Python, or a folder of maps
    option, value = _first_option(instance)
    fewer = (value or passes // 2) // _FEWER
    if not option or fewer < 1:
        return None
    return FewerPasses(call_text(replace(instance, **{option: fewer})), 1.0 / _FEWER)


def _first_option(instance: Any) -> tuple[str, int]:
    """Return the option that limits the passes of a method or metric, and its value."""
    if is_dataclass(instance):
        for option in _OPTIONS:
            value = getattr(instance, option, None)
            if isinstance(value, int):
                return option, value
    return "", 0
