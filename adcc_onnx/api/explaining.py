"""Explanation of single images: maps in memory, and maps and pictures in files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import ModelLike, as_model, with_class_names
from adcc_onnx.api.picture_names import class_title
from adcc_onnx.api.pictures import Drawer, PictureFolder, Pictures
from adcc_onnx.cams.method import Method
from adcc_onnx.errors import AdccError, InterruptedRunError
from adcc_onnx.evaluation.pipeline import Graceful, never_stopped
from adcc_onnx.evaluation.plan import make_plan, named_method
from adcc_onnx.evaluation.run_options import ModelOptions
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.evaluation.stored_evaluation import Notify, ProgressBar, announce, no_bar, quiet
from adcc_onnx.explanation.batch_explanations import (
    BatchExplanations,
    Targets,
    collect,
    explain_batches,
)
from adcc_onnx.explanation.calibrated_model import calibrated
from adcc_onnx.explanation.drawing_style import ALPHA, COLORMAP, DrawingStyle
from adcc_onnx.explanation.explanations import Explanations
from adcc_onnx.explanation.targets import parse_target, resolve_target
from adcc_onnx.images.sources.given_images import Images, as_source
from adcc_onnx.images.sources.image_source import Source, concatenate_sources
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import RunStoppedError


@dataclass(frozen=True)
class SavedExplanations:
    """The files that `save_explanations` wrote.

    Attributes:
        files: The paths of the pictures (`.png`) and of the maps (`.npy`).
        failures: The reasons of images that could not be explained, by the image's name.
    """

    files: list[Path] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@checked_arguments
def explain(
    model: ModelLike,
    images: Images,
    method: str | Method = "gradcam",
    target: str | int | Sequence[str | int] | None = None,
    *,
    class_names: str | Path | Sequence[str] | None = None,
    seed: int = 0,
    **load_options: Unpack[ModelOptions],
) -> Explanations:
    """Compute the class activation maps of some images.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        images: A folder, list, archive or image by its path; a PIL image; a uint8 array [H, W, 3];
            a list of these; or a floating-point array [N, C, H, W] of preprocessed images.
        method: A name with options, such as "smoothgradcam++(n=4)", or a `Method`.
        target: The explained class, one for all images or one per image: "predicted", "label", a
            class index or a class name. None explains the predicted classes.
        class_names: A text file with one class name per line, or the class names; the names in the
            model's card if None.
        seed: Seed of all random numbers.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        The maps, float32 [N, H, W] in [0, 1], with the names, classes and probabilities of the
        images. Images that failed are listed in `failures`. `Explanations.grid` draws an image
        with its map, and `Explanations.save` writes overlays and maps.

    Raises:
        TypeError: An argument has a wrong type.
        ImageError: No image could be explained.
        AdccError: The method or the class does not exist, or the model cannot be explained.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> found = adcc.explain(classifier_path(), "drawings:2", "gradcam")
        >>> found.maps.shape, found.names
        ((2, 112, 112), ['2026-0', '2026-1'])
    """
    loaded = with_class_names(as_model(model, load_options), class_names)
    name, chosen = named_method(method)
    targets = _targets(target, loaded)
    source = as_source(images)
    loaded = calibrated(loaded, source)
    found = explain_batches(loaded, source, {name: chosen}, targets, seed)
    drawer = Drawer(Pictures(loaded, source), _target_name(targets, loaded))
    return replace(collect(name, found, loaded), drawer=drawer)


@checked_arguments
def save_explanations(
    model: ModelLike,
    images: Images,
    methods: str | Method | Sequence[str | Method] = "gradcam",
    *,
    out: str | Path,
    target: str | int | Sequence[str | int] | None = None,
    class_names: str | Path | Sequence[str] | None = None,
    seed: int = 0,
    alpha: float = ALPHA,
    colormap: str = COLORMAP,
    force: bool = False,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    graceful: Graceful = never_stopped,
    **load_options: Unpack[ModelOptions],
) -> SavedExplanations:
    """Write overlays (PNG), a grid of all methods (PNG) and the maps (NPY) of images.

    The files of the image `dog.jpg`, the class 281 (tabby) and the method gradcam are:

    - `dog.281_tabby.gradcam.png`: The overlay at the image's full resolution, dimmed outside of
      the model's crop.
    - `dog.281_tabby.gradcam.crop.png`: The overlay on what the model sees, at its input size.
    - `dog.281_tabby.gradcam+scorecam.grid.png`: The image with the overlays of all methods.
    - `gradcam.predicted/dog.jpg.npy`: The map; `evaluate(maps=[...])` accepts this folder. It is
      named by the method and the target.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        images: The images as for `explain`. Preprocessed images are drawn by undoing the model's
            preprocessing, or scaled from their minimum to their maximum if it is not known.
        methods: One or several methods, as names with options or as instances.
        out: Folder of the files; it is created if it does not exist.
        target: The explained class as for `explain`.
        class_names: The class names as for `explain`.
        seed: Seed of all random numbers.
        alpha: Opacity of the maps in the overlays, from 0 to 1.
        colormap: Color map: "viridis", "cividis", "inferno", "magma" or "plasma".
        force: Whether existing files are replaced.
        bar: Function that shows the progress.
        notify: Function that receives the most probable classes of each image, the written files
            and the failures, one line each.
        graceful: Opens the part of the work that can be stopped without loss.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        The written files and the images that failed; a failed image stops no other.

    Raises:
        TypeError: An argument has a wrong type.
        InterruptedRunError: The user asked for a stop; the written files are whole.
        AdccError: A method, class or color map does not exist, or a file exists or cannot be
            written.

    Example:
        >>> import tempfile
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saved = adcc.save_explanations(classifier_path(), "drawings:1", out=folder)
        >>> for path in saved.files:
        ...     print(path.name)
        2026-0.7_crescent.gradcam.png
        2026-0.7_crescent.gradcam.crop.png
        2026-0.7_crescent.gradcam.grid.png
        2026-0.npy
    """
    loaded = with_class_names(as_model(model, load_options, notify), class_names)
    chosen = dict(named_method(method) for method in as_list(methods))
    source = _pictures(images)
    loaded = calibrated(loaded, source, notify)
    targets = _targets(target, loaded)
    folder = PictureFolder(
        Path(out), Pictures(loaded, source), chosen, _target_name(targets, loaded),
        DrawingStyle(alpha, colormap), force=force, notify=notify,
    )  # fmt: skip
    saved, tracker = SavedExplanations(), RunTracker(loaded.name, len(source))
    if bar is not no_bar:
        with suppress(AdccError):  # `explain_batches` says which methods cannot explain the model
            announce(loaded, replace(make_plan(), methods={**chosen}, metrics={}), tracker, notify)
    with graceful() as stop, bar(tracker):
        batches = explain_batches(loaded, source, chosen, targets, seed)
        try:
            while (batch := _next(batches, tracker, loaded.batch, stop)) is not None:
                saved.files.extend(folder.write_batch(batch))
                saved.failures.update(batch.failures)
                tracker.advance(len({one.name for one in batch.samples} | batch.failures.keys()))
        except RunStoppedError:
            raise InterruptedRunError(
                f"interrupted; {len(saved.files)} finished files are in {out}"
            ) from None
    return saved


def _next(
    batches: Iterator[BatchExplanations],
    tracker: RunTracker,
    size: int,
    stop: Callable[[], bool],
) -> BatchExplanations | None:
    """Explain the next batch; None after the last one."""
    left = tracker.total - tracker.snapshot().finished
    if not left:
        return next(batches, None)
    with tracker.part(min(size, left), stop):
        return next(batches, None)


def _pictures(images: Images) -> Source:
    """Open images; each item of a list is a source of its own, such as a folder."""
    if isinstance(images, Sequence) and not isinstance(images, str):
        return concatenate_sources([as_source(image) for image in images])
    return as_source(images)


def _target_name(targets: Targets, model: Model) -> str:
    """Name what is explained in the name of a folder."""
    if isinstance(targets, str):
        return targets
    if isinstance(targets, np.ndarray):
        return f"classes~{hashlib.sha256(targets.tobytes()).hexdigest()[:8]}"
    return class_title(targets, model.labels)


def _targets(target: str | int | Sequence[str | int] | None, model: Model) -> Targets:
    """Find the class indices of the explained classes."""
    if target is None:
        return "predicted"
    if isinstance(target, str) or not isinstance(target, Sequence | np.ndarray):
        return resolve_target(parse_target(target), model)
    found = [resolve_target(parse_target(one), model) for one in target]
    if not all(isinstance(one, int) for one in found):
        raise TypeError("target: a list must hold one class index or class name per image")
    return np.array(found, np.int64)
