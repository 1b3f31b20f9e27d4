"""What an evaluation would take, and what fits into a given time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from adcc_onnx.api.anchors import load_anchors
from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.cams.method import Method
from adcc_onnx.evaluation.budgeted_run import BudgetedRun, InPrecision, within_budget
from adcc_onnx.evaluation.evaluation_cost import EvaluationCost, costs_of
from adcc_onnx.evaluation.run_options import ModelOptions, PlanOptions, SourceOptions
from adcc_onnx.evaluation.stored_evaluation import Notify, quiet, tuned_models
from adcc_onnx.explanation.calibrated_model import calibrated_models
from adcc_onnx.images.sources.given_images import Images
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.metrics.metric import Metric
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
