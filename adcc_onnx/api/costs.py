"""What an evaluation would take, and what fits into a given time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.cams.method import Method
from adcc_onnx.evaluation.budget import fit_budget
from adcc_onnx.evaluation.durations import parse_duration
from adcc_onnx.evaluation.evaluation_cost import EvaluationCost, evaluation_cost
from adcc_onnx.evaluation.pipeline import check
from adcc_onnx.evaluation.plan import Plan, named_method
from adcc_onnx.evaluation.run_options import ModelOptions, PlanOptions, SourceOptions
from adcc_onnx.evaluation.stored_evaluation import Notify, quiet, tuned
from adcc_onnx.explanation.calibrated_model import calibrated, calibrated_models
from adcc_onnx.images.sources.given_images import Images
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.subsampling import subsample
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.metrics.metric_registry import get_metric
from adcc_onnx.model import Model

# From this number of images on, the seconds that autotuning takes are regained.
_IMAGES_WORTH_TUNING = 200


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
    plan = PlanOptions(
        as_list(methods), as_list(metrics), protocol=protocol, baseline=baseline, steps=steps,
        maps=as_list(maps), second_maps=as_list(second_maps), controls=controls,
    ).plan()  # fmt: skip
    loaded = calibrated(as_model(model, load_options, notify), source, notify)
    (cost,) = costs_of(tuned_models([loaded], plan, notify) if autotune else [loaded], source, plan)
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
    if worth_tuning(models, load_options, len(opened)):
        loaded = tuned_models(loaded, planned, notify)
    costs = costs_of(loaded, opened, planned)
    if budget is None:
        return costs
    fitting = within_budget(costs, opened, planned, budget, notify)
    return costs if fitting == (opened, planned) else costs_of(loaded, *fitting)


def worth_tuning(models: Sequence[ModelLike], options: ModelOptions, images: int) -> bool:
    """Return whether an evaluation searches for the fastest run settings first.

    Args:
        models: The models; the settings of a loaded model are not changed.
        options: The options of `load`; a batch size is not changed.
        images: The number of images.
    """
    fixed = options.get("batch_size") or any(isinstance(one, Model) for one in models)
    return not fixed and images >= _IMAGES_WORTH_TUNING


def costs_of(models: Sequence[Model], source: Source, plan: Plan) -> list[EvaluationCost]:
    """Estimate what the evaluation of models takes.

    Args:
        models: The models with their run settings.
        source: The images.
        plan: The plan for all models.

    Returns:
        The costs in the order of the models.

    Raises:
        AdccError: The evaluation could not run.
    """
    found = []
    for model in models:
        own = plan.for_model(model)
        check(model, source, own)
        found.append(evaluation_cost(model, own.mark_unavailable(model), len(source)))
    return found


def tuned_models(models: Sequence[Model], plan: Plan, notify: Notify) -> list[Model]:
    """Return models with the fastest run settings for a plan.

    Args:
        models: The models.
        plan: The plan for all models.
        notify: Receives the settings in one line.
    """
    return [tuned(model, plan.mark_unavailable(model), notify) for model in models]


def within_budget(
    costs: Sequence[EvaluationCost],
    source: Source,
    plan: Plan,
    budget: str | float,
    notify: Notify,
) -> tuple[Source, Plan]:
    """Return the images and the plan that fit into a time; see `fit_budget`.

    Args:
        costs: What the evaluation of each model takes.
        source: The images.
        plan: The plan for all models.
        budget: The time for all models, such as "30m" or a number of seconds.
        notify: Receives what was chosen.

    Returns:
        A random sample of the images if not all of them fit, and the plan with cheaper methods; the
        given ones if everything fits.

    Raises:
        OptionError: The budget is no duration, or too small for one image.
    """
    choice = fit_budget(costs, parse_duration(budget))
    notify(choice.text(of=len(source)))
    if not choice.methods and not choice.metrics and choice.images == len(source):
        return source, plan
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
    if choice.images < len(source):
        source = subsample(source, choice.images, plan.seed)
    return source, replace(plan, methods=dict(methods), metrics=dict(metrics))
