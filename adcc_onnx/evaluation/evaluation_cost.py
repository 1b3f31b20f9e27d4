"""What an evaluation takes, part by part, and how it would take less."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from adcc_onnx.evaluation.cheaper_precisions import cheaper_precisions, default_anchors
from adcc_onnx.evaluation.cost_estimate import Estimate, cheaper_option, estimate
from adcc_onnx.evaluation.pipeline import check, open_plan_sessions
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.stages import stopping_in_time
from adcc_onnx.explanation.required_passes import pass_for
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.runtime.cheaper_passes import CHEAPER
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.peak_memory import peak_memory
from adcc_onnx.runtime.precisions import PARTIAL

SHARED = "all methods together"
_WORTHWHILE = 0.2  # a cheaper option is listed for parts that take more than this fraction
_FEWEST_IMAGES = 10  # intervals need as many
_EFFECTS = {
    "scorecam": "maps correlate with the exact ones at 0.9994 or more in the median (measured with "
    "a tenth of the passes)",
    "limit": "intervals are about {widening:.1f} times as wide",
    "until": "the best method of all images, wrong in at most 5 %; the closest methods decide "
    "after how many images: 50 to 970 of 1,000 in simulations",
    "fp16": "unbiased; in float16 alone, ADCC per image differed by 0.0007 on average",
    "int8": "unbiased; in int8 alone, ADCC moved by 0.0 to 0.6 points on three models",
    "bf16": "unbiased; with weights in bf16 alone, ADCC moved by 0.0 to 1.3 points on three models",
    "precision": "unbiased; intervals are wider as far as the precisions differ",
}
_UNKNOWN_EFFECT = "its agreement was not measured: compare both with --limit"


@dataclass(frozen=True)
class CostPart:
    """What one part of an evaluation takes per image.

    Attributes:
        name: The method or metric, or `SHARED` for the first pass.
        kind: "shared", "method" or "metric".
        passes: The number of passes through the model.
        seconds: The expected time of these passes.
    """

    name: str
    kind: str
    passes: int
    seconds: float


@dataclass(frozen=True)
class CheaperOption:
    """A change that makes an evaluation cheaper.

    Attributes:
        option: The option of the command line.
        seconds: The expected time of the whole evaluation with it.
        effect: What it changes in the results.
        at_most: Whether it may take less time.
    """

    option: str
    seconds: float
    effect: str
    at_most: bool = False


@dataclass(frozen=True)
class EvaluationCost:
    """What an evaluation takes on this machine; `estimate_cost` returns it.

    Attributes:
        model: The name of the model.
        device: The name of the device, such as "cpu".
        batch_size: The number of images per run.
        concurrent_runs: The number of runs at the same time.
        images: The number of images.
        parts: The cost of each part per image: first the pass that all methods share, then the
            methods, then the metrics that run the model themselves.
        memory: The peak memory of the process in bytes after one pass of each kind.
        cheaper: Changes that make the evaluation cheaper.
        early_stopping: Whether it may stop before it has seen all images.
        anchors: The number of images that are also evaluated in float32.
        anchor_factor: The time of an image in float32 relative to that of any other image.
    """

    model: str
    device: str
    batch_size: int
    concurrent_runs: int
    images: int
    parts: tuple[CostPart, ...]
    memory: int
    cheaper: tuple[CheaperOption, ...]
    early_stopping: bool = False
    anchors: int = 0
    anchor_factor: float = 1.0

    @property
    def passes(self) -> int:
        """The number of passes per image."""
        return sum(part.passes for part in self.parts)

    @property
    def seconds(self) -> float:
        """The expected time of the whole evaluation, without decoding and metrics on the host."""
        images = self.images + self.anchors * self.anchor_factor
        return images * sum(part.seconds for part in self.parts)


def evaluation_cost(
    model: Model, plan: Plan, images: int, exact: Model | None = None
) -> EvaluationCost:
    """Count the passes of an evaluation, and measure one pass of each kind.

    Args:
        model: The model with its run settings.
        plan: The plan for this model.
        images: The number of images.
        exact: The same model in float32 if the plan has anchors.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> from adcc_onnx.evaluation.plan import make_plan
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> cost = evaluation_cost(model, make_plan(["gradcam"], ["adcc"]), 100)
        >>> [(part.name, part.passes) for part in cost.parts]
        [('all methods together', 1), ('gradcam', 1)]
    """
    open_plan_sessions(model, plan)
    found = estimate(model, plan)
    parts = tuple(cost_parts(found))
    factor = 1.0
    if exact is not None:
        open_plan_sessions(exact, plan)
        factor = estimate(exact, plan).expected.unit_seconds / found.expected.unit_seconds
    return EvaluationCost(
        model=model.name,
        device=model.device.name,
        batch_size=model.batch,
        concurrent_runs=model.settings.concurrent_runs,
        images=images,
        parts=parts,
        memory=peak_memory(),
        cheaper=tuple(_cheaper_options(model, plan, parts, images)),
        early_stopping=plan.stopping is not None,
        anchors=plan.anchors,
        anchor_factor=factor,
    )


def costs_of(
    models: Sequence[Model], source: Source, plan: Plan, anchors: Sequence[Model] = ()
) -> list[EvaluationCost]:
    """Estimate what the evaluation of models takes.

    Args:
        models: The models with their run settings.
        source: The images.
        plan: The plan for all models.
        anchors: The same models in float32, if the plan has anchors.

    Returns:
        The costs in the order of the models.

    Raises:
        AdccError: The evaluation could not run.
    """
    found = []
    for model, exact in zip_longest(models, anchors):
        own = plan.for_model(model)
        check(model, source, own)
        images = len(source) if own.stopping is None else max(own.stopping.looks(len(source)))
        found.append(evaluation_cost(model, own.mark_unavailable(model), images, exact))
    return found


def cost_parts(found: Estimate) -> Iterator[CostPart]:
    """Iterate over the parts of an estimate.

    Args:
        found: The estimate.
    """
    groups: list[tuple[str, Mapping[str, Counter[Pass]]]] = [
        ("shared", {SHARED: found.shared}), ("method", found.methods), ("metric", found.metrics),
    ]  # fmt: skip
    for kind, group in groups:
        for name, passes in group.items():
            seconds = sum(found.expected.cost(one) * count for one, count in passes.items())
            yield CostPart(name, kind, passes.total(), seconds)


def _cheaper_options(
    model: Model, plan: Plan, parts: tuple[CostPart, ...], images: int
) -> Iterator[CheaperOption]:
    yield from _cheaper_parts(parts, images)
    whole = sum(part.seconds for part in parts)
    anchors = 0 if plan.anchors else default_anchors(images)
    for one in cheaper_precisions(model) if anchors else ():
        effect = _EFFECTS.get(one.name, _EFFECTS["precision"])
        shared = sum(part.seconds for part in parts if part.kind == "shared")
        of_shared = one.relative_cost
        if one.name in PARTIAL and pass_for(plan.needs) not in CHEAPER:
            of_shared = 1.0
        cheap = shared * of_shared + (whole - shared) * one.relative_cost
        seconds = images * cheap + anchors * whole
        yield CheaperOption(f"--precision {one.name} --anchor {anchors}", seconds, effect)
    if plan.stopping is None and stopping_in_time(plan, images - 1) is not None:
        yield CheaperOption("--until certain", images * whole, _EFFECTS["until"], at_most=True)
    fewer = images // 4
    if fewer >= _FEWEST_IMAGES:
        effect = _EFFECTS["limit"].format(widening=math.sqrt(images / fewer))
        yield CheaperOption(f"--limit {fewer} --sample random", fewer * whole, effect)


def _cheaper_parts(parts: tuple[CostPart, ...], images: int) -> Iterator[CheaperOption]:
    """Iterate over variants of expensive methods and metrics with fewer passes."""
    whole = sum(part.seconds for part in parts)
    for part in sorted(parts, key=lambda part: -part.seconds):
        if part.kind == "shared" or part.seconds <= _WORTHWHILE * whole:
            continue
        option = cheaper_option(part.name, part.kind, part.passes)
        if option is not None:
            saved = part.seconds * (1.0 - option.fraction)
            effect = _EFFECTS.get(part.name, _UNKNOWN_EFFECT)
            yield CheaperOption(f"--{part.kind} '{option.text}'", images * (whole - saved), effect)
