"""Comparison of two models of one task: parity of exports, and drift by quantization or pruning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.api.stored_results import require_confidence
from adcc_onnx.cams.method import Method
from adcc_onnx.errors import UnknownLayerError
from adcc_onnx.evaluation.pipeline import Graceful, never_stopped
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.evaluation.run_options import ModelOptions, SourceOptions
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.evaluation.stored_evaluation import Notify, ProgressBar, no_bar, quiet
from adcc_onnx.explanation.calibrated_model import calibrated_models
from adcc_onnx.graph.classifier.layer_matching import match_layers
from adcc_onnx.images.sources.given_images import Images
from adcc_onnx.images.sources.image_source import Label
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.model import Model
from adcc_onnx.statistics.resampling import Resampling
from adcc_onnx.studies.model_comparison import ModelComparison, compare, require_same_task

COMPARED_METHODS = ("gradcam", "gradcam++", "xgradcam", "layercam", "hirescam")


@checked_arguments
def compare_models(
    first: ModelLike,
    second: ModelLike,
    images: Images,
    methods: str | Method | Sequence[str | Method] = (),
    metrics: str | Metric | Sequence[str | Metric] = (),
    *,
    target: str | int = "predicted",
    protocol: str = "poppi2021",
    labels: str | Path | Sequence[Label] | None = None,
    truth: str | Path | None = None,
    limit: int | None = None,
    sample: str = "first",
    cache_crops: str | Path | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    graceful: Graceful = never_stopped,
    **load_options: Unpack[ModelOptions],
) -> ModelComparison:
    """Compare the outputs, layers, maps and scores of two models on the same images.

    The models are two files of one network: exports of two frameworks, or a model and its
    quantized, pruned, converted or optimized form. Both explain the same class of each image.

    Args:
        first: The reference: a model's file, an `onnx.ModelProto`, or a model from `load`.
        second: The model that is compared with it, in one of the same forms.
        images: The images as for `evaluate`; each model has its own preprocessing.
        methods: One or several methods, as names with options or as instances; Grad-CAM,
            Grad-CAM++, XGrad-CAM, LayerCAM and HiResCAM if empty.
        metrics: One or several metrics, as names with options or as instances; the ADCC family if
            empty.
        target: The explained class: "predicted" (by the first model), "label", a class index or a
            class name.
        protocol: "poppi2021" or "openvino".
        labels: Image labels as for `evaluate`.
        truth: Ground truth as for `evaluate`.
        limit: Largest number of images; all images if None.
        sample: Which images are taken under a limit: "first", "random" or "stratified".
        cache_crops: Folder of decoded and cropped images as for `evaluate`.
        seed: Seed of all random numbers.
        confidence: Confidence level of all intervals together, from 0.5 to 0.99.
        bar: Function that shows the progress.
        notify: Function that receives messages about the devices.
        graceful: Opens the part of the work that can be stopped; the finished images are compared.
        **load_options: Options of `load` for models that are not loaded. The layers are those of
            the first model; the second model's layers are their counterparts.

    Returns:
        The comparison: `outputs`, `walk` (the layers), `maps` and `scores`, and `exceeding(limit)`
        for a gate.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: The models have other classes, input sizes or channels, or an option does not
            exist.
        AdccError: A model cannot be loaded, or no image can be compared.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> found = adcc.compare_models(classifier_path(), classifier_path(), "drawings:4")
        >>> found.is_equal, found.outputs.same_prediction, found.walk.parting
        (True, 4, None)
    """
    require_confidence(confidence)
    given = load_options.get("layers")
    one = as_model(first, load_options if not isinstance(first, Model) else {}, notify)
    rest: ModelOptions = {**load_options, "layers": None}
    loaded = isinstance(second, Model)
    other = as_model(second, {} if loaded else rest, notify)
    if isinstance(first, Model) and loaded and load_options:
        raise TypeError("both models are loaded already: give the options to adcc_onnx.load")
    require_same_task(one, other)
    if not loaded:
        other = _with_same_layers(one, other, given is not None, notify)
    one, other = _with_names(one, other)
    plan = make_plan(as_list(methods) or COMPARED_METHODS, as_list(metrics), target, protocol, seed)
    source = SourceOptions(images, labels, truth, limit, sample, cache_crops).open(seed)
    one, other = calibrated_models([one, other], source, notify)
    tracker = RunTracker(f"{one.name} and {other.name}", len(source))
    with bar(tracker):
        return compare(one, other, source, plan, Resampling(confidence, seed), tracker, graceful)


def _with_same_layers(first: Model, second: Model, named: bool, notify: Notify) -> Model:
    """Return the second model with the counterparts of the first one's layers.

    Raises:
        UnknownLayerError: A layer that the user named has no counterpart.
    """
    matches = {m.first.value: m.second for m in match_layers(first.classifier, second.classifier)}
    found = []
    for layer in first.layers:
        if layer.value is first.classifier.image:
            found.append("input")
        elif layer.value in matches:
            found.append(matches[layer.value].name)
        elif not named:
            own = ", ".join(one.name for one in second.layers)
            notify(
                f"{second.name} has no counterpart of the layer '{layer.name}': its maps are those "
                f"of {own}"
            )
            return second
        else:
            found.append(layer.name)
    try:
        return second.with_layers(found)
    except UnknownLayerError as error:
        raise UnknownLayerError(f"{second.name}: {error}") from error


def _with_names(first: Model, second: Model) -> tuple[Model, Model]:
    """Return the models with different names."""
    if first.name != second.name:
        return first, second
    return replace(first, name=f"{first.name} (1)"), replace(second, name=f"{second.name} (2)")
