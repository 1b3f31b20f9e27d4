"""The Python interface: load a model, explain images, evaluate methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, Need
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.evaluation.pipeline import Progress, check, evaluate_into
from adcc_onnx.evaluation.plan import image_seed, make_plan
from adcc_onnx.explanation.maps import maps_of
from adcc_onnx.explanation.ready_maps import pair
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.explanation.samples import require_preprocessing, tensor_of
from adcc_onnx.graph.loading.saving import to_proto, with_weights
from adcc_onnx.graph.programs.bake import bake_maps
from adcc_onnx.images.annotations.ground_truth import with_ground_truth
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.open_images import open_arrays, open_paths, open_source
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model, load
from adcc_onnx.results.evaluation_result import EvaluationResult, evaluation_result
from adcc_onnx.results.store import Store

__all__ = ["Model", "bake", "evaluate", "explain", "load"]

Images = str | Path | Sequence[str | Path] | NDArray[np.floating]


def explain(
    model: Model,
    images: Images,
    method: str | Method = "gradcam",
    target: int | Sequence[int] | None = None,
) -> Float32Array:
    """The class activation maps of some images.

    Args:
        model: from `load`.
        images: paths, a folder, list or `.npz`, or a preprocessed array [N, C, H, W].
        method: a name with its options ("smoothgradcam++(n=4)"), or a `Method`.
        target: the explained class, one for all or one each; the predicted class if None.

    Returns:
        float32 [N, H, W] in [0, 1] at the input's size; zeros where a map is constant.

    Raises:
        AdccError: an unknown method, an unreadable image, a class out of range.
    """
    source = as_source(images)
    require_preprocessing(source, model)
    chosen = get_method(method) if isinstance(method, str) else method
    classes = None if target is None else _classes(target, len(source), model)
    maps = []
    for positions, tensors, names in _chunks(source, model):
        wanted = None if classes is None else classes[positions]
        keys = [image_seed(0, name) for name in names]
        seen = run_images(model, tensors, wanted, chosen.needs, keys)
        maps.append(maps_of(chosen, seen).maps)
    return np.concatenate(maps)


def evaluate(
    model: Model,
    images: Images,
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    *,
    target: str | int = "predicted",
    protocol: str = "poppi2021",
    limit: int | None = None,
    seed: int = 0,
    truth: str | Path | None = None,
    maps: Sequence[str | Path] = (),
    second_maps: Sequence[str | Path] = (),
    output: str | Path | None = None,
    resume: bool = False,
    progress: Progress = lambda images: None,
) -> EvaluationResult:
    """Score methods on images.

    Args:
        model: from `load`.
        images: as for `explain`.
        methods: names with options; the paper's six if neither methods nor maps are given.
        metrics: names with options; the ADCC family if empty.
        target: "predicted", "label" or a class index.
        protocol: "poppi2021" or "openvino".
        limit: at most so many images.
        seed: of everything that is drawn at random.
        truth: where the objects are: a folder of Pascal VOC files or of masks, or a COCO file.
        maps: folders of maps made by other tools, one `.npy` an image.
        second_maps: a folder for each of them, of the maps of x * M.
        output: an SQLite file to keep the run in; nothing is kept if None.
        resume: continue the run in `output`.
        progress: called with the number of images just finished.

    Returns:
        The dataset's figures, fractions in [0, 1], by method.

    Raises:
        AdccError: see `adcc_onnx.errors`; a single image's failure is counted instead.
    """
    plan = make_plan(methods, metrics, target, protocol, seed, maps=pair(maps, second_maps))
    source = as_source(images, limit)
    if truth is not None:
        source = with_ground_truth(source, Path(truth))
    check(model, source, plan)
    with open_store(output, resume) as store:
        run = evaluate_into(store, model, source, plan, describe_source(images), progress)
        return evaluation_result(store, store.run(run))


def bake(
    model: str | Path | onnx.ModelProto,
    method: str | Method = "gradcam",
    layers: Sequence[str] | None = None,
    target: int | None = None,
    *,
    fuse: str = "mean",
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> onnx.ModelProto:
    """A model with the heatmap built in: it runs in any onnxruntime, with nothing of ours.

    Args:
        model: an ONNX file, or a model in memory.
        method: a method of one forward and one backward pass.
        layers: as for `expose`; maps of several are fused.
        target: the explained class; the predicted one if None.
        fuse: "mean" of the normalized maps of several layers, or their "max".
        size: (height, width) of the input in pixels, where the model leaves it open.
        output: the model's output with the class scores; found by itself if None.

    Returns:
        The model with one more output, `heatmap`, float32 [batch, H, W] in [0, 1]: what `explain`
        gives, to 1e-5.

    Raises:
        OptionError: the method takes more passes, or there is no such class.
        ModelError: see `adcc_onnx.errors`.
    """
    baked = bake_graph(model, method, layers, target, fuse=fuse, size=size, scores_output=output)
    return to_proto(with_weights(baked))


def bake_graph(
    model: str | Path | onnx.ModelProto,
    method: str | Method = "gradcam",
    layers: Sequence[str] | None = None,
    target: int | None = None,
    **options: Any,
) -> ir.Model:
    """As `bake`; large weights stay in their file until the model is saved."""
    chosen = get_method(method) if isinstance(method, str) else method
    needs_gradients = Need.GRADIENTS in chosen.needs
    baked = bake_maps(model, chosen.graph_maps, needs_gradients, layers, target, **options)
    baked.metadata_props["adcc_onnx.method"] = method if isinstance(method, str) else chosen.name
    return baked


def open_store(output: str | Path | None, resume: bool) -> Store:
    """The store a run goes to: in memory, a new file, or one to continue."""
    if output is None:
        return Store.create(None)
    return Store.resume(Path(output)) if resume else Store.create(Path(output))


def as_source(images: Images, limit: int | None = None) -> Source:
    """Whatever holds images, as a source of them."""
    if isinstance(images, np.ndarray):
        return open_arrays(images, limit)
    if isinstance(images, str | Path):
        return open_source(images, limit)
    return open_paths([Path(path) for path in images], limit)


def describe_source(images: Images) -> str:
    """The source in a run's record: its name, never a path of this machine."""
    return Path(images).name if isinstance(images, str | Path) else f"{len(images)} images"


def _classes(target: int | Sequence[int], count: int, model: Model) -> NDArray[np.int64]:
    classes = np.broadcast_to(np.asarray(target, np.int64), (count,))
    for index in classes:
        model.classifier.require_class(int(index))
    return classes


def _chunks(
    source: Source, model: Model
) -> Iterator[tuple[NDArray[np.int64], Float32Array, list[str]]]:
    """(positions, tensors, names) of up to a batch of images."""
    records = list(source)
    for start in range(0, len(records), model.batch):
        group = records[start : start + model.batch]
        tensors = np.stack([tensor_of(record, source.preprocessed, model) for record in group])
        positions = np.arange(start, start + len(group))
        yield positions, tensors, [record.name for record in group]
