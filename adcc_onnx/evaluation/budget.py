"""The choice of what is computed within a given time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.cost_estimate import cheaper_option
from adcc_onnx.evaluation.durations import duration_text
from adcc_onnx.evaluation.evaluation_cost import EvaluationCost

# Decoding, maps and metrics on the host take time, too, not only the passes.
_FOR_PASSES = 0.9


@dataclass(frozen=True)
class BudgetChoice:
    """What is computed within a budget.

    Attributes:
        methods: The cheaper variants of methods, by the name of the method.
        metrics: The cheaper variants of metrics, by the name of the metric.
        images: The number of images for which there is time.
        seconds: The expected time of these images and of the anchors.
    """

    methods: dict[str, str]
    metrics: dict[str, str]
    images: int
    seconds: float


def fit_budget(costs: Sequence[EvaluationCost], budget: float) -> BudgetChoice:
    """Choose what an evaluation computes within a time.

    Methods and metrics with many passes get fewer of them first, the most expensive one first,
    because this changes the results little. Only then fewer images are taken. Anchors are kept.

    Args:
        costs: What the evaluation of each model takes.
        budget: The time for all models in seconds.

    Returns:
        The choice.

    Raises:
        OptionError: The budget is too small for one image, or for the anchors.
    """
    allowed, images, anchors = budget * _FOR_PASSES, costs[0].images, costs[0].anchors
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    in_float32: dict[tuple[str, str], float] = defaultdict(float)
    passes: dict[tuple[str, str], int] = defaultdict(int)
    for cost in costs:
        for part in cost.parts:
            key = (part.kind, part.name)
            seconds[key] += part.seconds
            in_float32[key] += part.seconds * cost.anchor_factor
            passes[key] = max(passes[key], part.passes)

    def needed(count: int) -> float:
        return count * sum(seconds.values()) + anchors * sum(in_float32.values())

    replaced: dict[str, dict[str, str]] = {"method": {}, "metric": {}}
    for (kind, name), own in sorted(seconds.items(), key=lambda item: -item[1]):
        if needed(images) <= allowed or kind == "shared":
            continue
        option = cheaper_option(name, kind, passes[kind, name])
        if option is not None:
            replaced[kind][name] = option.text
            seconds[kind, name] = own * option.fraction
            in_float32[kind, name] *= option.fraction
    unit = sum(seconds.values())
    affordable = min(images, int((allowed - needed(0)) / unit))
    if affordable < max(1, anchors):
        raise OptionError(_too_small(budget, unit, needed(max(1, anchors)) / _FOR_PASSES, anchors))
    return BudgetChoice(replaced["method"], replaced["metric"], affordable, needed(affordable))


def _too_small(budget: float, unit: float, needed: float, anchors: int) -> str:
    given = f"a budget of {_short_duration(budget)} is too small for"
    if anchors:
        return (
            f"{given} {anchors} anchors, which are evaluated in both precisions: give at least "
            f"--budget {needed + 1:.0f}s, fewer anchors or cheaper methods"
        )
    return (
        f"{given} one image, which takes about {_short_duration(unit)}: give at least --budget "
        f"{needed + 1:.0f}s or cheaper methods"
    )


def _short_duration(seconds: float) -> str:
    """Return a duration that may be shorter than a second."""
    return duration_text(seconds) if seconds >= 1.0 else f"{1000.0 * seconds:.2g} ms"
