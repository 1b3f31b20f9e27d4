"""What an evaluation would take, and what fits into a given time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Unpack

from adcc_onnx.api.anchors import load_anchors
from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.cams.method import Method
from adcc_onnx.errors import DeviceError, ModelError, OptionError
from adcc_onnx.evaluation.budget import BudgetChoice, fit_budget
from adcc_onnx.evaluation.cheaper_precisions import cheaper_precisions, default_anchors
from adcc_onnx.evaluation.durations import duration_text, parse_duration
from adcc_onnx.evaluation.evaluation_cost import EvaluationCost, evaluation_cost
from adcc_onnx.evaluation.pipeline import check
from adcc_onnx.evaluation.plan import Plan, named_method
from adcc_onnx.evaluation.run_options import ModelOptions, PlanOptions, SourceOptions
from adcc_onnx.evaluation.stages import stopping_in_time
from adcc_onnx.evaluation.stored_evaluation import Notify, quiet, tuned
from adcc_onnx.explanation.calibrated_model import calibrated_models
from adcc_onnx.images.sources.given_images import Images
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.subsampling import subsample
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.metrics.metric_registry import get_metric
from adcc_onnx.model import Model

# From this number of images on, the seconds that autotuning takes are regained.
_IMAGES_WORTH_TUNING = 200
# Given a precision, the number of anchors and the images: loads the models in this precision, and
# the same models in float32.
InPrecision = Callable[[str, int, Source], tuple[Sequence[Model], Sequence[Model]]]


@checked_arguments
def estimate_cost(
    model: ModelLike,
    images: Images,
    methods: str | Method | Sequence[str | Method] = (),
    metrics: str | Metric | Sequence[str | Metric] = (),
    *,
    protocol: str = "poppi2021",
    baseline: str | None = None,
    steps: int | None = None,
    limit: int | None = None,
    maps: str | Path | Sequence[str | Path] = (),
    second_maps: str | Path | Sequence[str | Path] = (),
    controls: bool = True,
    until: str | None = None,
    margin: float | None = None,
    alpha: float | None = None,
    keep_all: bool = False,
    anchor: int | None = None,
    autotune: bool = False,
    notify: Notify = quiet,
    **load_options: Unpack[ModelOptions],
) -> EvaluationCost:
    """Estimate what `evaluate` takes with the same arguments.

    The passes of every method and metric are counted, and one pass of each kind is measured on this
    machine. No image is evaluated.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        images: The images as for `evaluate`; only their number matters.
        methods: The methods as for `evaluate`.
        metrics: The metrics as for `evaluate`.
        protocol: The protocol as for `evaluate`.
        baseline: The baseline of insertion and deletion as for `evaluate`.
        steps: The number of steps of insertion and deletion as for `evaluate`.
        limit: Largest number of images; all images if None.
        maps: Folders of ready-made maps as for `evaluate`.
        second_maps: Folders of their second maps as for `evaluate`.
        controls: Whether the controls run, too.
        until: When the run stops as for `evaluate`; the time is then the longest one.
        margin: The margin of equivalence as for `evaluate`.
        alpha: The error probability as for `evaluate`.
        keep_all: Whether worse methods are computed until the end as for `evaluate`.
        anchor: Number of images that are also evaluated in float32 as for `evaluate`.
        autotune: Whether to search for the fastest run settings first.
        notify: Function that receives messages about the device and the run settings.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        The passes and the expected time, by method and metric, with cheaper options. The time is
        that of the passes; decoding and metrics on the host run beside them.

    Raises:
        TypeError: An argument has a wrong type.
        AdccError: The evaluation could not run.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> cost = adcc.estimate_cost(classifier_path(), "drawings:100", "gradcam", controls=False)
        >>> cost.passes, cost.images
        (2, 100)
    """
    source = SourceOptions(images, limit=limit).open()
    options = PlanOptions(
        as_list(methods), as_list(metrics), protocol=protocol, baseline=baseline, steps=steps,
        maps=as_list(maps), second_maps=as_list(second_maps), controls=controls,
        until=until, margin=margin, alpha=alpha, keep_all=keep_all, anchor=anchor,
    )  # fmt: skip
    plan = options.plan()
    loaded = calibrated_models([as_model(model, load_options, notify)], source, notify)
    anchors = anchors_of([model], loaded, load_options, options, len(source))
    if autotune:
        loaded = tuned_models(loaded, plan, notify)
    (cost,) = costs_of(loaded, source, plan, anchors)
    return cost


def estimated_models(
    models: Sequence[ModelLike],
    source: SourceOptions,
    plan: PlanOptions,
    load_options: ModelOptions,
    budget: str | float | None = None,
    notify: Notify = quiet,
) -> list[EvaluationCost]:
    """Estimate what the evaluation of several models takes; see `estimate_cost`.

    Args:
        models: The models.
        source: The images.
        plan: The methods and metrics.
        load_options: The options of `load` for models that are not loaded.
        budget: The time for all models; `notify` receives what it allows.
        notify: Receives messages.

    Returns:
        The costs in the order of the models.
    """
    opened, planned = source.open(plan.seed), plan.plan()
    loaded = [as_model(model, load_options, notify) for model in models]
    loaded = calibrated_models(loaded, opened, notify)
    anchors = anchors_of(models, loaded, load_options, plan, len(opened))
    autotune = worth_tuning(models, load_options, len(opened))
    if autotune:
        loaded = tuned_models(loaded, planned, notify)
    asked = BudgetedRun(loaded, anchors, opened, planned)
    costs = asked.costs()
    if budget is None:
        return costs
    reload = reloading(models, load_options, plan, autotune, notify)
    fitting = within_budget(asked, costs, budget, notify, reload)
    unchanged = replace(fitting, plan=replace(fitting.plan, budget="")) == asked
    return costs if unchanged else fitting.costs()


def anchors_of(
    models: Sequence[ModelLike],
    loaded: Sequence[Model],
    options: ModelOptions,
    plan: PlanOptions,
    images: int,
) -> list[Model]:
    """Load the models in float32 if a plan has anchors; see `load_anchors`."""
    if plan.anchor is None:
        return []
    return load_anchors(models, loaded, options, plan.anchor, images)


def reloading(
    models: Sequence[ModelLike],
    options: ModelOptions,
    plan: PlanOptions,
    autotune: bool,
    notify: Notify,
) -> InPrecision | None:
    """Return a function that loads models in a cheaper precision.

    Args:
        models: The models as they were given.
        options: The options of `load`.
        plan: The methods and metrics.
        autotune: Whether to search for the fastest run settings.
        notify: Receives messages.

    Returns:
        The function; None if the user has chosen the precision or has loaded a model.
    """
    chosen = options.get("precision", "auto") != "auto"
    if chosen or any(isinstance(one, Model) for one in models):
        return None

    def load(precision: str, count: int, source: Source) -> tuple[list[Model], list[Model]]:
        own: ModelOptions = {**options, "precision": precision}
        cheap = calibrated_models([as_model(model, own) for model in models], source, notify)
        exact = load_anchors(models, cheap, own, count, len(source))
        if autotune:
            return tuned_models(cheap, plan.plan(), notify), tuned_models(exact, plan.plan(), quiet)
        return cheap, exact

    return load


def worth_tuning(models: Sequence[ModelLike], options: ModelOptions, images: int) -> bool:
    """Return whether an evaluation searches for the fastest run settings first.

    Args:
        models: The models; the settings of a loaded model are not changed.
        options: The options of `load`; a batch size is not changed.
        images: The number of images.
    """
    fixed = options.get("batch_size") or any(isinstance(one, Model) for one in models)
    return not fixed and images >= _IMAGES_WORTH_TUNING


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


def tuned_models(models: Sequence[Model], plan: Plan, notify: Notify) -> list[Model]:
    """Return models with the fastest run settings for a plan.

    Args:
        models: The models.
        plan: The plan for all models.
        notify: Receives the settings in one line.
    """
    return [tuned(model, plan.mark_unavailable(model), notify) for model in models]


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
