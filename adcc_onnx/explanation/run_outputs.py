"""The outputs of one run of the model on a batch of images, which all methods share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import GradientMapMethod, Method, Need
from adcc_onnx.explanation.equal_arrays import first_equal_rows
from adcc_onnx.explanation.gradient_map_cache import GradientMapCache
from adcc_onnx.explanation.inputs import ModelInput, PlainInput
from adcc_onnx.explanation.memory_strategy import memory_strategy
from adcc_onnx.explanation.predicted_classes import predicted_classes
from adcc_onnx.explanation.required_passes import pass_for
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS, MASKS, TARGET
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.passes import TARGETED, Pass

_PREDICTED = -1  # the target that stands for the predicted class


@dataclass(frozen=True, eq=False)
class RunOutputs:
    """The outputs of one run of the model on N images; never changed.

    Attributes:
        model: The classifier.
        images: The original images x, from which noise is scaled.
        seeds: One seed per image, from which all its random numbers are drawn.
        needs: What methods may read.
        kind: The kind of pass.
        input: The input of the run: the images, changed images or explanation maps.
        logits: The class scores, float32 [N, classes].
        predicted: The predicted classes, int64 [N]; on the original images those of the model's
            own precision, whatever that of the logits is.
        targets: The explained classes, int64 [N].
        values: The other outputs, such as activations and gradients of all layers.
        gradient_maps: The raw maps of gradient methods, computed on first use.
    """

    model: Model
    images: PlainInput
    seeds: tuple[int, ...]
    needs: frozenset[Need]
    kind: Pass
    input: ModelInput
    logits: Float32Array
    predicted: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: Mapping[str, DeviceArray] = field(repr=False)
    gradient_maps: GradientMapCache = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W) of the images."""
        return self.model.size

    @property
    def on_original_images(self) -> bool:
        """Whether the run's input is the original images."""
        return self.input is self.images

    def logits_in_other_precision(self) -> Float32Array:
        """Run the model on the same images in the precision that this run does not have."""
        pool = self.model.pool
        session = pool.session(Pass.FORWARD, exact=pool.is_cheaper(self.kind))
        logits: Float32Array = session.run(*self.input.feeds())[LOGITS]
        return logits

    def on_images(self, array: Float32Array, needs: frozenset[Need]) -> RunOutputs:
        """Run the model on changed images, with the same classes and seeds.

        Args:
            array: The changed images, [N, C, H, W].
            needs: What methods will read.
        """
        return self._rerun(PlainInput(self.images.memory, array), needs)

    def for_classes(self, classes: NDArray[np.int64], needs: frozenset[Need]) -> RunOutputs:
        """Run the model on the same images and seeds for other classes.

        Args:
            classes: The other classes, [N].
            needs: What methods will read.
        """
        return _run(self.model, self.images, self.input, self.seeds, needs, classes)

    def on_explanation_maps(
        self, maps: Sequence[Float32Array], fill: Float32Array, needs: frozenset[Need]
    ) -> list[RunOutputs]:
        """Run the model on explanation maps e = x * M + fill * (1 - M) of several methods.

        Args:
            maps: The maps M of each method, [N, h, w] of any h and w.
            fill: The value of fully masked pixels, [C].
            needs: What methods will read.

        Returns:
            The outputs for each method; all methods share one run.
        """
        inputs = [self.images.masked(of_method, fill) for of_method in maps]
        if len(inputs) == 1:
            return [self._rerun(inputs[0], needs)]
        joined = PlainInput(self.images.memory, np.concatenate([one.array for one in inputs]))
        targets, seeds = np.tile(self.targets, len(maps)), self.seeds * len(maps)
        whole = _run(self.model, joined, joined, seeds, needs, targets)
        return [whole._slice(self, one, index) for index, one in enumerate(inputs)]

    def _rerun(self, model_input: ModelInput, needs: frozenset[Need]) -> RunOutputs:
        images, targets = self.images, self.targets
        return _run(self.model, images, model_input, self.seeds, needs, targets)

    def _slice(self, original: RunOutputs, model_input: ModelInput, index: int) -> RunOutputs:
        """Return the outputs for copy number `index` of the original run's images."""
        count = len(original.seeds)
        rows = slice(index * count, (index + 1) * count)
        device, batch = self.model.device, self.model.batch
        values = {
            name: DeviceArray.put(value.array[rows], device, batch)
            for name, value in self.values.items()
        }
        return replace(
            self,
            images=original.images,
            seeds=original.seeds,
            input=model_input,
            logits=self.logits[rows],
            predicted=self.predicted[rows],
            targets=self.targets[rows],
            values=values,
            gradient_maps=GradientMapCache(self.images.memory, values),
        )


def run_images(
    model: Model,
    images: Float32Array,
    targets: NDArray[np.int64] | None,
    needs: frozenset[Need],
    seeds: Sequence[int],
    methods: Iterable[Method] = (),
) -> RunOutputs:
    """Run the model on a batch of images.

    Args:
        model: The classifier.
        images: The normalized tensors, float32 [N, C, H, W].
        targets: The explained classes, [N]; the predicted classes if None.
        needs: What methods will read; reading anything else is an error.
        seeds: One seed per image.
        methods: The methods whose maps will be computed. The maps of gradient methods among them
            are computed together.

    Returns:
        The outputs of the run.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> images = np.zeros((2, 3, 112, 112), np.float32)
        >>> run_images(model, images, None, frozenset(), [0, 1]).logits.shape
        (2, 10)
    """
    plain = PlainInput(memory_strategy(model), images)
    return _run(model, plain, plain, tuple(seeds), needs, targets, methods)


def _run(
    model: Model,
    images: PlainInput,
    model_input: ModelInput,
    seeds: tuple[int, ...],
    needs: frozenset[Need],
    targets: NDArray[np.int64] | None,
    methods: Iterable[Method] = (),
) -> RunOutputs:
    kind = pass_for(needs)
    rows = np.arange(len(seeds))
    if not images.memory.masks_in_graph:  # images on a device are not compared
        rows = first_equal_rows(model_input.array, targets)
    logits, values = _run_rows(model, model_input, kind, rows, targets)
    predicted: NDArray[np.int64] = logits.argmax(axis=1)
    if targets is None and model.pool.is_cheaper(kind):
        found, predicted = predicted, predicted_classes(model, images.array, logits)
        changed = np.flatnonzero(predicted != found)
        values = _explaining(model, images, kind, values, changed, predicted)
    gradient_methods = [method for method in methods if isinstance(method, GradientMapMethod)]
    return RunOutputs(
        model=model,
        images=images,
        seeds=seeds,
        needs=needs,
        kind=kind,
        input=model_input,
        logits=logits,
        predicted=predicted,
        targets=predicted if targets is None else targets,
        values=values,
        gradient_maps=GradientMapCache(images.memory, values, gradient_methods),
    )


def _explaining(
    model: Model,
    images: PlainInput,
    kind: Pass,
    values: dict[str, DeviceArray],
    changed: NDArray[np.int64],
    classes: NDArray[np.int64],
) -> dict[str, DeviceArray]:
    """Return the outputs of a run in which some images are explained for other classes.

    Args:
        model: The classifier, on a device without its own memory.
        images: All images of the run.
        kind: The kind of pass.
        values: The outputs of the run.
        changed: The indices of these images.
        classes: The explained class of every image, [N].
    """
    if kind not in TARGETED or not len(changed):
        return values
    part = PlainInput(images.memory, images.array[changed])
    _, others = _run_rows(model, part, kind, np.arange(len(changed)), classes[changed])
    found = {}
    for name, value in values.items():
        array = value.array.copy()
        array[changed] = others[name].array
        found[name] = DeviceArray.put(array, model.device, model.batch)
    return found


def _run_rows(
    model: Model,
    model_input: ModelInput,
    kind: Pass,
    rows: NDArray[np.int64],
    targets: NDArray[np.int64] | None,
) -> tuple[Float32Array, dict[str, DeviceArray]]:
    """Run the model once for each of several equal rows.

    Args:
        model: The classifier.
        model_input: The input of the run.
        kind: The kind of pass.
        rows: The first equal row of each row, [N].
        targets: The explained classes, [N]; the predicted classes if None.

    Returns:
        The class scores, [N, classes], and the other outputs by name.
    """
    feeds, shared = model_input.feeds()
    session = model.pool.session(kind, masked=MASKS in feeds)
    first, places = np.unique(rows, return_inverse=True)
    if len(first) < len(rows):
        feeds = {IMAGE: model_input.array[first]}
    if kind in TARGETED:
        feeds[TARGET] = np.full(len(first), _PREDICTED) if targets is None else targets[first]
    scores, values = session.run_keeping(set(session.outputs) - {LOGITS}, feeds, shared)
    if len(first) == len(rows):
        return scores[LOGITS], values
    repeated = {
        name: DeviceArray.put(value.array[places], model.device, model.batch)
        for name, value in values.items()
    }
    return scores[LOGITS][places], repeated
