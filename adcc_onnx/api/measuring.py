"""Benchmarks of speed, and checks of metrics and methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.cams.method import Method
from adcc_onnx.drawings import classifier_path
from adcc_onnx.evaluation.pipeline import check
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.evaluation.run_options import ModelOptions, SourceOptions, load_with
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.evaluation.stored_evaluation import (
    Notify,
    ProgressBar,
    evaluate_and_store,
    no_bar,
    quiet,
    tuned,
)
from adcc_onnx.explanation.calibrated_model import calibrated
from adcc_onnx.images.sources.given_images import Images, describe_source
from adcc_onnx.images.sources.image_source import Label
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.model import Model
from adcc_onnx.statistics.resampling import Resampling
from adcc_onnx.studies.metric_validation import Validation, assess_metrics, validation_plan
from adcc_onnx.studies.randomization import RandomizationStep, randomization_check
from adcc_onnx.studies.throughput import BenchmarkResult, measure_throughput, random_images

_ROUNDS_BEFORE = 2  # rounds of `benchmark` that warm up and measure the parts
# The intervals of `validate_metrics` need fewer bootstrap samples than those of a report.
_VALIDATION_REPLICATES = 500


@checked_arguments
def benchmark(
    model: ModelLike,
    images: Images | None = None,
    methods: str | Method | Sequence[str | Method] = "gradcam",
    metrics: str | Metric | Sequence[str | Metric] = (),
    *,
    limit: int | None = None,
    rounds: int = 5,
    reference: Model | None = None,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    **load_options: Unpack[ModelOptions],
) -> BenchmarkResult:
    """Measure the speed of an evaluation against the onnxruntime passes that it needs.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        images: The images as for `evaluate`; 32 random tensors if None.
        methods: One or several methods, as names with options or as instances.
        metrics: One or several metrics; the ADCC family if empty.
        limit: Largest number of images; all images if None.
        rounds: Number of measurements, whose median counts.
        reference: The same model in float32, to measure the deviation of a model of another
            precision. It is loaded automatically for a model given by its path.
        bar: Function that shows the progress.
        notify: Function that receives messages about the device and the run settings.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        The measured speeds and times. Without `batch_size`, the run settings are autotuned.

    Raises:
        TypeError: An argument has a wrong type.
        AdccError: The evaluation cannot run.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> found = adcc.benchmark(classifier_path(), limit=4, rounds=1, batch_size=4)
        >>> found.images, found.batch
        (4, 4)
    """
    plan = make_plan(as_list(methods), as_list(metrics))
    loaded = as_model(model, load_options, notify)
    source = (
        random_images(loaded, limit)
        if images is None
        else SourceOptions(images, limit=limit).open()
    )
    loaded = calibrated(loaded, source, notify)
    plan = plan.mark_unavailable(loaded)
    if not isinstance(model, Model) and not load_options.get("batch_size"):
        loaded = tuned(loaded, plan, notify)
    check(loaded, source, plan)
    low_precision = loaded.halved or bool(loaded.cheaper) or loaded.device.tf32
    if reference is None and low_precision and not isinstance(model, Model):
        exact: ModelOptions = {**load_options, "precision": "fp32"}
        reference = load_with(model, exact)
    tracker = RunTracker(loaded.name, len(source) * (max(1, rounds) + _ROUNDS_BEFORE))
    with bar(tracker):
        return measure_throughput(loaded, source, plan, rounds, tracker, reference)


@checked_arguments
def validate_metrics(
    model: ModelLike | None = None,
    images: Images = "drawings:64",
    methods: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    *,
    against: str = "best_iou",
    labels: str | Path | Sequence[Label] | None = None,
    truth: str | Path | None = None,
    limit: int | None = None,
    sample: str = "first",
    cache_crops: str | Path | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    **load_options: Unpack[ModelOptions],
) -> Validation:
    """Test the metrics themselves on images with known ground truth.

    Args:
        model: A model as for `evaluate`; the built-in classifier if None.
        images: The images as for `evaluate`, with ground truth.
        methods: Methods that explain the model; the maps of the first one are also corrupted on
            purpose. Several common methods if empty.
        metrics: The tested metrics; most metrics if empty.
        against: The metric of the ground truth: "best_iou", "energy_pointing_game" or
            "pointing_game".
        labels: Image labels as for `evaluate`.
        truth: Ground truth as for `evaluate`.
        limit: Largest number of images; all images if None.
        sample: Which images are taken under a limit: "first", "random" or "stratified".
        cache_crops: Folder of decoded and cropped images as for `evaluate`.
        seed: Seed of all random numbers.
        out: SQLite file that keeps the run; the run is not kept if None.
        bar: Function that shows the progress.
        notify: Function that receives messages about the device.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        How well each metric orders maps as the ground truth does.

    Raises:
        TypeError: An argument has a wrong type.
        AdccError: The evaluation cannot run.

    Example:
        >>> import adcc_onnx as adcc
        >>> found = adcc.validate_metrics(None, "drawings:2", "gradcam", "complexity")
        >>> found.against, found.images
        ('best_iou', 2)
    """
    plan = validation_plan(as_list(methods), as_list(metrics), seed)
    source = SourceOptions(images, labels, truth, limit, sample, cache_crops).open(seed)
    loaded = as_model(classifier_path() if model is None else model, load_options, notify)
    (found,) = evaluate_and_store(
        [loaded], source, plan, describe_source(images), out=out, bar=bar, notify=notify
    )
    resampling = Resampling(seed=seed, replicates=_VALIDATION_REPLICATES)
    return assess_metrics(found.stored, plan, against, resampling)


@checked_arguments
def randomize(
    model: ModelLike,
    images: Images,
    methods: str | Method | Sequence[str | Method] = "gradcam",
    *,
    target: str | int = "predicted",
    steps: int = 8,
    labels: str | Path | Sequence[Label] | None = None,
    truth: str | Path | None = None,
    limit: int | None = None,
    sample: str = "first",
    cache_crops: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    **load_options: Unpack[ModelOptions],
) -> list[RandomizationStep]:
    """Compare a model's maps with those of the same model with randomized weights.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        images: The images as for `evaluate`.
        methods: One or several methods, as names with options or as instances.
        target: The explained class: "predicted", a class index or a class name.
        steps: Number of steps; each one randomizes more weights, from the scores downwards.
        labels: Image labels as for `evaluate`.
        truth: Ground truth as for `evaluate`.
        limit: Largest number of images; all images if None.
        sample: Which images are taken under a limit: "first", "random" or "stratified".
        cache_crops: Folder of decoded and cropped images as for `evaluate`.
        seed: Seed of all random numbers.
        progress: Function that is called with 1 after each step, and for the original maps.
        bar: Function that shows the progress.
        notify: Function that receives messages about the device.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        For each step, the mean correlation of each method's maps with the original ones.

    Raises:
        TypeError: An argument has a wrong type.
        AdccError: The check cannot run.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> (step,) = adcc.randomize(classifier_path(), "drawings:2", "center", steps=1)
        >>> round(step.similarity["center"], 6)
        1.0
    """
    plan = make_plan(as_list(methods), target=target, seed=seed)
    source = SourceOptions(images, labels, truth, limit, sample, cache_crops).open(seed)
    loaded = calibrated(as_model(model, load_options, notify), source, notify)
    tracker = RunTracker(loaded.name, steps + 1, "steps")
    if progress is not None:
        tracker.on_advance = progress
    chosen = plan.for_model(loaded).mark_unavailable(loaded)
    with bar(tracker):
        return list(randomization_check(loaded, source, chosen, steps, tracker))
