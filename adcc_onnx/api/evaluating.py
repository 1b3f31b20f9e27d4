"""Evaluation of methods: the scores of their maps on a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

from adcc_onnx.api.anchors import float32_options
from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.costs import anchors_of, reloading, worth_tuning
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.api.notebook_progress import in_notebook, notebook_bar
from adcc_onnx.cams.method import Method
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.budgeted_run import BudgetedRun, within_budget
from adcc_onnx.evaluation.pipeline import Begin, Graceful, never_stopped
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.run_options import ModelOptions, PlanOptions, SourceOptions, load_with
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.evaluation.stored_evaluation import (
    Notify,
    Placed,
    ProgressBar,
    evaluate_and_store,
    in_this_process,
    no_bar,
    quiet,
    tuned_models,
)
from adcc_onnx.explanation.calibrated_model import calibrated_models
from adcc_onnx.images.sources.given_images import Images, describe_source
from adcc_onnx.images.sources.image_source import Label, Source
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.model import Model
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.runtime.precisions import PARTIAL


@checked_arguments
def evaluate(
    model: ModelLike,
    images: Images,
    methods: str | Method | Sequence[str | Method] = (),
    metrics: str | Metric | Sequence[str | Metric] = (),
    *,
    target: str | int = "predicted",
    protocol: str = "poppi2021",
    fill: str | None = None,
    baseline: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    labels: str | Path | Sequence[Label] | None = None,
    truth: str | Path | None = None,
    limit: int | None = None,
    sample: str = "first",
    cache_crops: str | Path | None = None,
    maps: str | Path | Sequence[str | Path] = (),
    second_maps: str | Path | Sequence[str | Path] = (),
    controls: bool = True,
    thumbnails: bool = True,
    until: str | None = None,
    margin: float | None = None,
    alpha: float | None = None,
    keep_all: bool = False,
    anchor: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    cluster: str | None = None,
    autotune: bool | None = None,
    budget: str | float | None = None,
    progress: Callable[[int], None] | None = None,
    notify: Notify = quiet,
    **load_options: Unpack[ModelOptions],
) -> EvaluationResult:
    """Score methods on images.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        images: A folder, list, archive or image by its path; a PIL image; a uint8 array [H, W, 3];
            a list of these; or a floating-point array [N, C, H, W] of preprocessed images.
        methods: One or several methods, as names with options or as instances; the six methods of
            the paper if neither methods nor maps are given.
        metrics: One or several metrics, as names with options or as instances; the ADCC family if
            empty.
        target: The explained class: "predicted", "label", a class index or a class name.
        protocol: "poppi2021" or "openvino".
        fill: "zero" or "black", the values of masked pixels; the protocol's own fill if None.
        baseline: "zero", "blur" or "mean", the baseline of insertion and deletion.
        steps: Number of steps of insertion and deletion; 224 if None.
        seed: Seed of all random numbers.
        labels: A file of image labels, or one label per image.
        truth: Ground truth of the object's location: a folder of Pascal VOC files or of masks, or
            a COCO file.
        limit: Largest number of images; all images if None.
        sample: Which images are taken under a limit: "first", "random" or "stratified".
        cache_crops: Folder that keeps the decoded and cropped images, so that later runs decode
            nothing; the results stay equal.
        maps: Folders of maps that another tool made, one `.npy` file per image.
        second_maps: Folders of the maps of the explanation maps x * M, one for each of `maps`.
        controls: Whether the controls `random` and `center`, which do not depend on the model, run
            in addition to the methods.
        thumbnails: Whether the run keeps thumbnails of the images and the maps at the layer's
            resolution, so that a report needs neither the model nor the images.
        until: When the run stops before it has seen all images: "certain" when the best method is
            certain for the whole dataset, or "width=0.02" when the intervals of all methods are at
            most that wide. ",images=500" after it stops after 500 images in any case. None
            evaluates all images.
        margin: Largest difference of two scores that counts as equivalent; 0.005 if None.
        alpha: Highest probability of a wrong verdict, or of an interval that misses the score;
            0.05 if None.
        keep_all: Whether methods that are certainly worse are computed until the end.
        anchor: Number of random images that are also evaluated in float32, to correct the scores
            of a cheaper `precision`.
        out: SQLite file that keeps the run; the run is not kept if None.
        resume: Whether to continue the run in `out`.
        cluster: Address "HOST:PORT" of a Ray cluster, or "local" or "local:N" for N processes on
            this machine; the model and the images must be given by their paths.
        autotune: Whether to search for the fastest run settings first. None searches for a model
            that is not loaded and has no `batch_size`, if there are at least 200 images.
        budget: The time that the evaluation may take, such as "30m" or a number of seconds.
            To keep to it, methods and metrics with many passes get fewer of them. Then the
            precision becomes cheaper, with anchors. Then the run stops when the best method is
            certain, or when the time is over. `notify` receives what was chosen.
        progress: Function that is called with the number of images just finished. None shows a
            progress bar in a notebook, and nothing elsewhere.
        notify: Function that receives messages about the device and the run settings.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        The scores on the whole dataset by method. A failed image is counted, not raised.

    Raises:
        TypeError: An argument has a wrong type.
        AdccError: The evaluation cannot run.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> result = adcc.evaluate(classifier_path(), "drawings:4", ["gradcam", "fakecam"])
        >>> round(result.methods["fakecam"].scores["coherency"], 3)
        1.0
    """
    source = SourceOptions(images, labels, truth, limit, sample, cache_crops)
    plan = PlanOptions(
        as_list(methods), as_list(metrics), target, protocol, fill, baseline, steps,
        as_list(maps), as_list(second_maps), seed, controls, thumbnails,
        until, margin, alpha, keep_all, anchor,
    )  # fmt: skip
    bar = _bar(progress)
    (result,) = evaluate_models(
        [model], source, plan, load_options,
        out=out, resume=resume, cluster=cluster, autotune=autotune, budget=budget, bar=bar,
        notify=notify,
    )  # fmt: skip
    return result


def evaluate_models(
    models: Sequence[ModelLike],
    source: SourceOptions,
    plan: PlanOptions,
    load_options: ModelOptions,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    cluster: str | None = None,
    autotune: bool | None = None,
    budget: str | float | None = None,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    graceful: Graceful = never_stopped,
) -> list[EvaluationResult]:
    """Score methods on the same images for several models; see `evaluate`.

    Args:
        models: The models.
        source: The images.
        plan: The methods and metrics.
        load_options: The options of `load` for models that are not loaded.
        out: The SQLite file of the runs.
        resume: Whether to continue the runs in `out`.
        cluster: The address of a Ray cluster.
        autotune: Whether to search for the fastest run settings first.
        budget: The time for all models together.
        bar: Opens the progress bar of a model.
        notify: Receives messages.
        graceful: Opens the part of the work that can be stopped without loss.

    Returns:
        The results in the order of the models.
    """
    _require_consistent(out, resume, cluster, budget)
    opened, planned = source.open(plan.seed), plan.plan()
    if cluster is None:
        loaded = [as_model(model, load_options, notify) for model in models]
    else:
        # On a cluster this process runs no model.
        place = load_options.get("device", "auto") if _is_partial(load_options) else "cpu"
        idle: ModelOptions = {**load_options, "cuda_graph": False, "device": place}
        loaded = [as_model(_path(model, source), idle) for model in models]
    anchors: Sequence[Model] = anchors_of(models, loaded, load_options, plan, len(opened))
    if autotune is None:
        autotune = worth_tuning(models, load_options, len(opened))
    if budget is not None:
        loaded = calibrated_models(loaded, opened, notify)
        loaded = tuned_models(loaded, planned, notify) if autotune else loaded
        asked = BudgetedRun(loaded, anchors, opened, planned)
        reload = reloading(models, load_options, plan, autotune, notify)
        run = within_budget(asked, asked.costs(), budget, notify, reload)
        loaded, anchors, opened, planned = [*run.models], run.anchors, run.source, run.plan
        autotune = False
    with ExitStack() as stack:
        placed: Placed = in_this_process
        if cluster is not None:
            joined = _on_cluster(
                cluster, models, loaded, opened, source, plan, load_options, notify
            )
            placed = stack.enter_context(joined)
        results = evaluate_and_store(
            loaded, opened, planned, describe_source(source.images), anchors,
            out=out, resume=resume, autotune=autotune and cluster is None,
            bar=bar, notify=notify, graceful=graceful, placed=placed,
        )  # fmt: skip
    return [one.result for one in results]


def _require_consistent(
    out: str | Path | None,
    resume: bool,
    cluster: str | None,
    budget: str | float | None,
) -> None:
    """Check options that exclude each other.

    Raises:
        OptionError: They do not fit each other.
    """
    if resume and out is None:
        raise OptionError("resume needs the file of the run to continue: give out")
    if budget is not None and (resume or cluster is not None):
        raise OptionError(
            "a budget is planned for one new run on this machine: to resume or to use a cluster, "
            "give what the budget chose: the methods, and until or the number of images (limit)"
        )


@contextmanager
def _on_cluster(
    address: str,
    models: Sequence[ModelLike],
    loaded: Sequence[Model],
    opened: Source,
    source: SourceOptions,
    plan: PlanOptions,
    load_options: ModelOptions,
    notify: Notify,
) -> Iterator[Placed]:
    """Connect to a cluster; yields what places a model on it."""
    from adcc_onnx.cluster.connection import connected
    from adcc_onnx.cluster.job import Job

    device = load_options.get("device", "auto")
    if device == "auto" and _is_partial(load_options):
        device = loaded[0].device.kind
    with connected(address, device, notify) as joined:

        def placed(
            number: int, model: Model, own: Plan
        ) -> AbstractContextManager[tuple[Model, Begin | None]]:
            options = float32_options(load_options) if own.is_anchor else load_options
            calibration = model.calibration
            job = Job(
                partial(load_with, _path(models[number], source), options, calibration=calibration),
                partial(source.open, plan.seed),
                replace(plan, target=own.target).plan,
                Path.cwd(),
            )
            return joined.worker_pool(job, model, opened, own)

        yield placed


def _is_partial(options: ModelOptions) -> bool:
    """Return whether most passes run in a cheaper precision, which selects its device."""
    return options.get("precision") in PARTIAL


def _path(model: ModelLike, source: SourceOptions) -> str | Path:
    """Return a model's path; other machines open the model and the images by their paths."""
    if not isinstance(model, str | Path) or not isinstance(source.images, str | Path):
        raise OptionError("cluster needs the model and the images by their paths")
    return model


def _bar(progress: Callable[[int], None] | None) -> ProgressBar:
    if progress is not None:
        return partial(_plain_bar, progress)
    return notebook_bar if in_notebook() else no_bar


@contextmanager
def _plain_bar(progress: Callable[[int], None], tracker: RunTracker) -> Iterator[None]:
    tracker.on_advance = progress
    yield
