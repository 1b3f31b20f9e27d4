"""What an evaluation within a budget computes: methods, precision, and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from adcc_onnx.errors import DeviceError, ModelError, OptionError
from adcc_onnx.evaluation.budget import BudgetChoice, fit_budget
from adcc_onnx.evaluation.cheaper_precisions import cheaper_precisions, default_anchors
from adcc_onnx.evaluation.durations import duration_text, parse_duration
from adcc_onnx.evaluation.evaluation_cost import EvaluationCost, costs_of
from adcc_onnx.evaluation.plan import Plan, named_method
from adcc_onnx.evaluation.stages import stopping_in_time
from adcc_onnx.evaluation.stored_evaluation import Notify
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.subsampling import subsample
from adcc_onnx.metrics.metric_registry import get_metric
from adcc_onnx.model import Model

# Given a precision, the number of anchors and the images: loads the models in this precision, and
# the same models in float32.
InPrecision = Callable[[str, int, Source], tuple[Sequence[Model], Sequence[Model]]]


@dataclass(frozen=True)
class BudgetedRun:
    """What is evaluated within a budget.

    Attributes:
        models: The models.
        anchors: The same models in float32, if some images are also evaluated in it.
        source: The images.
        plan: The plan.
    """

    models: Sequence[Model]
    anchors: Sequence[Model]
    source: Source
    plan: Plan

    def costs(self) -> list[EvaluationCost]:
        """Estimate what the evaluation takes, in the order of the models."""
        return costs_of(self.models, self.source, self.plan, self.anchors)


def within_budget(
    asked: BudgetedRun,
    costs: Sequence[EvaluationCost],
    budget: str | float,
    notify: Notify,
    in_precision: InPrecision | None = None,
) -> BudgetedRun:
    """Return what fits into a time.

    Cheaper passes come first, because they change the results least: fewer passes of expensive
    methods and metrics, and then a cheaper precision with anchors. If the time does not suffice for
    all images, the run stops when the best method is certain, and at the latest when the time is
    over. If nothing can be compared, a random sample of the images is taken.

    Args:
        asked: What was asked for.
        costs: What this takes.
        budget: The time for all models, such as "30m" or a number of seconds.
        notify: Receives what was chosen.
        in_precision: Loads the models in a cheaper precision; None if it may not be changed.

    Raises:
        OptionError: The budget is no duration, or too small for one image.
    """
    seconds, images = parse_duration(budget), len(asked.source)
    choice = fit_budget(costs, seconds)
    cheap, wanted = None, costs[0].images
    if choice.images < wanted and in_precision is not None:
        cheap = _in_cheaper_precision(asked, choice, seconds, in_precision)
    run, choice = cheap or (asked, choice)
    plan = _with_cheaper_methods(run.plan, choice)
    said = [f"{new} instead of {old}" for old, new in (choice.methods | choice.metrics).items()]
    if cheap is not None:
        said.append(f"{run.models[0].precision} with {plan.anchors} anchors in float32")
    source, rule = run.source, stopping_in_time(plan, choice.images)
    if choice.images < wanted and rule is not None:
        plan = replace(plan, stopping=rule)
        said.append(f"--until {rule.until} of {images}")
    elif choice.images < wanted:
        source = subsample(source, choice.images, plan.seed)
        said.append(f"{choice.images} of {images} images")
    what = ", ".join(said) or "everything as asked"
    bound = "about" if plan.stopping is None else "at most about"
    notify(f"the budget allows {what}; {bound} {duration_text(choice.seconds)}")
    return replace(run, source=source, plan=replace(plan, budget=what))


def _in_cheaper_precision(
    asked: BudgetedRun, choice: BudgetChoice, seconds: float, in_precision: InPrecision
) -> tuple[BudgetedRun, BudgetChoice] | None:
    """Return the run in the first cheaper precision that has time for more images, if any."""
    count = default_anchors(len(asked.source))
    for option in cheaper_precisions(asked.models[0]) if count else ():
        plan = replace(asked.plan, anchors=count)
        try:
            models, anchors = in_precision(option.name, count, asked.source)
            run = BudgetedRun(models, anchors, asked.source, plan)
            found = fit_budget(run.costs(), seconds)
        except (DeviceError, ModelError, OptionError):
            continue  # it is not for this model or device, or its anchors take too long
        if found.images > choice.images:
            return run, found
    return None


def _with_cheaper_methods(plan: Plan, choice: BudgetChoice) -> Plan:
    methods = [
        named_method(choice.methods[name]) if name in choice.methods else (name, method)
        for name, method in plan.methods.items()
    ]
    metrics = [
        (cheaper, get_metric(cheaper))
        if (cheaper := choice.metrics.get(name)) is not None
        else (name, metric)
        for name, metric in plan.metrics.items()
    ]
    return replace(plan, methods=dict(methods), metrics=dict(metrics))
