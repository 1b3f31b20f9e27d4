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
        images: The number of images.
        seconds: The expected time.
    """

    methods: dict[str, str]
    metrics: dict[str, str]
    images: int
    seconds: float

    def text(self, of: int) -> str:
        """Say in one line what was chosen.

        Args:
            of: The number of all images.
        """
        chosen = [f"{new} instead of {old}" for old, new in (self.methods | self.metrics).items()]
        if self.images < of:
            chosen.append(f"{self.images} of {of} images")
        what = ", ".join(chosen) or "everything as asked"
        return f"the budget allows {what}; about {duration_text(self.seconds)}"


def fit_budget(costs: Sequence[EvaluationCost], budget: float) -> BudgetChoice:
    """Choose what an evaluation computes within a time.

    Methods and metrics with many passes get fewer of them first, the most expensive one first,
    because this changes the results little. Only then fewer images are taken.

    Args:
        costs: What the evaluation of each model takes.
        budget: The time for all models in seconds.

    Returns:
        The choice.

    Raises:
        OptionError: The budget is too small for one image.
    """
    allowed, images = budget * _FOR_PASSES, costs[0].images
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    passes: dict[tuple[str, str], int] = defaultdict(int)
    for cost in costs:
        for part in cost.parts:
            key = (part.kind, part.name)
            seconds[key] += part.seconds
            passes[key] = max(passes[key], part.passes)
    replaced: dict[str, dict[str, str]] = {"method": {}, "metric": {}}
    for (kind, name), own in sorted(seconds.items(), key=lambda item: -item[1]):
        if images * sum(seconds.values()) <= allowed or kind == "shared":
            continue
        option = cheaper_option(name, kind, passes[kind, name])
        if option is not None:
            replaced[kind][name] = option.text
            seconds[kind, name] = own * option.fraction
    unit = sum(seconds.values())
    affordable = min(images, int(allowed / unit))
    if affordable < 1:
        raise OptionError(
            f"a budget of {duration_text(budget)} is too small for one image, which takes about "
            f"{unit:.1f} s: give at least --budget {unit / _FOR_PASSES + 1:.0f}s or cheaper methods"
        )
    return BudgetChoice(replaced["method"], replaced["metric"], affordable, affordable * unit)
