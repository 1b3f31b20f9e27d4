"""What a model shows of one batch of images: the `Evidence` that methods read."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import GradientMapMethod, Method, Need
from adcc_onnx.errors import AdccError, OptionError
from adcc_onnx.explanation.inputs import ModelInput, PlainInput
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.graph.programs.tensor_names import (
    ACTIVATIONS,
    BASELINE,
    CHANNEL_LOGITS,
    GRADIENTS,
    IMAGE,
    LOGITS,
    MASKS,
    TARGET,
    layer_output,
)
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.gradient_maps import gradient_maps
from adcc_onnx.model import Model, Pass
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.session import Arrays

_PREDICTED = -1
# What methods are shown beside the run of the whole model.
_OWN_PASSES = {
    Need.MASKED_SCORES: Pass.MASKED,
    Need.BLENDED_SCORES: Pass.BLENDED,
    Need.SUFFIX_SCORES: Pass.SUFFIX,
    Need.IMAGE_GRADIENT: Pass.IMAGE_GRADIENTS,
    Need.IMAGE_GRADIENTS: Pass.IMAGE_GRADIENTS,
    Need.SHARE_GRADIENTS: Pass.SHARE_GRADIENTS,
}


class BatchContext:
    """One run of the model on one batch, showing what `needs` names; see `cams.method.Evidence`.

    Args:
        model: the classifier.
        images: normalized tensors [N, C, H, W].
        targets: the explained classes [N]; the predicted ones if None.
        needs: what will be read; reading anything else is an error.
        keys: one whole number an image, from which its noise is drawn.
        together: methods of which those that can are assembled in one read of A and g.

    Attributes:
        notes: what methods tell about the maps of images, by the images' numbers.
        passes: how often the model was run on each image, [N]; one with its backward half is one.
    """

    def __init__(
        self,
        model: Model,
        images: Float32Array,
        targets: NDArray[np.int64] | None,
        needs: frozenset[Need],
        keys: Sequence[int],
        together: Iterable[Method] = (),
    ) -> None:
        self._model, self._needs, self.keys = model, needs, keys
        self._layer = 0
        self._together = [m for m in together if isinstance(m, GradientMapMethod)]
        self._clean = PlainInput(model, images)
        self._look(self._clean, targets)

    def _look(self, model_input: ModelInput, targets: NDArray[np.int64] | None) -> None:
        """Run the model."""
        self._input = model_input
        self.notes: dict[int, str] = {}
        self.passes = np.ones(len(self.keys), np.int64)
        self._gradient_maps: dict[tuple[int, GradientMapMethod], Float32Array] = {}
        self._kind = pass_for(self._needs)
        feeds, shared = model_input.feeds()
        session = self._model.probe(self._kind, masked=MASKS in feeds)
        if self._kind in (Pass.GRADIENTS, Pass.IMAGE_GRADIENTS):
            feeds[TARGET] = np.full(len(self.keys), _PREDICTED) if targets is None else targets
        scores, self._seen = session.run_keeping(set(session.outputs) - {LOGITS}, feeds, shared)
        self.logits: Float32Array = scores[LOGITS]
        self.predicted: NDArray[np.int64] = self.logits.argmax(axis=1)
        self.targets: NDArray[np.int64] = self.predicted if targets is None else targets

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self._model.size

    def anew(self) -> BatchContext:
        """The same run for another method, with passes and notes of its own."""
        view = copy.copy(self)
        view.notes, view.passes = {}, np.ones(len(self.keys), np.int64)
        return view

    def on_images(self, images: Float32Array, needs: frozenset[Need]) -> BatchContext:
        """A run on changed versions of the images, [N, C, H, W]: the same classes and noise."""
        return self._again(PlainInput(self._model, images), needs)

    def on_explanation_maps(
        self, maps: Sequence[Float32Array], fill: Float32Array, needs: frozenset[Need]
    ) -> list[BatchContext]:
        """Runs on e = x * M + fill (1 - M), shared by several methods' maps.

        Args:
            maps: M of each method, [N, h, w] of any h and w.
            fill: [C].
            needs: what will be read.

        Returns:
            An observation for each method.
        """
        model_input = [self._clean.behind(of_method, fill) for of_method in maps]
        if len(maps) == 1:
            return [self._again(model_input[0], needs)]
        whole = copy.copy(self)
        whole.keys, whole._needs, whole._together = [*self.keys] * len(maps), needs, []
        joined = PlainInput(self._model, np.concatenate([e.array for e in model_input]))
        whole._look(joined, np.tile(self.targets, len(maps)))
        return [whole._part(self, e, index) for index, e in enumerate(model_input)]

    def _part(self, first: BatchContext, model_input: ModelInput, index: int) -> BatchContext:
        """The share of this run that is number `index` of those on the images of the first."""
        count = len(first.keys)
        here = slice(index * count, (index + 1) * count)
        device, batch = self._model.device, self._model.batch
        view = copy.copy(self)
        view.keys, view._input, view._gradient_maps, view.notes = first.keys, model_input, {}, {}
        view._seen = {
            n: DeviceArray.put(k.array[here], device, batch) for n, k in self._seen.items()
        }
        view.logits, view.targets = self.logits[here], self.targets[here]
        view.predicted, view.passes = self.predicted[here], self.passes[here]
        return view

    def _again(self, model_input: ModelInput, needs: frozenset[Need]) -> BatchContext:
        view = copy.copy(self)
        view._needs, view._together = needs, []
        view._look(model_input, self.targets)
        return view

    def layers(self) -> Iterator[BatchContext]:
        """The same run as each of the model's layers shows it."""
        for index in range(len(self._model.layers)):
            view = copy.copy(self)
            view._layer = index
            yield view

    @property
    def images(self) -> Float32Array:
        return self._input.array

    @property
    def activations(self) -> Float32Array:
        return self._read(ACTIVATIONS, Need.ACTIVATIONS)

    @property
    def tokens(self) -> bool:
        return self._model.layers[self._layer].kind == "tokens"

    @property
    def gradients(self) -> Float32Array:
        return self._read(GRADIENTS, Need.GRADIENTS)

    def gradient_map(self, method: GradientMapMethod) -> Float32Array:
        key = (self._layer, method)
        if key not in self._gradient_maps:
            self._declared(Need.ACTIVATIONS)
            self._declared(Need.GRADIENTS)
            methods = list(dict.fromkeys([*self._together, method]))
            maps = self._assemble(methods)
            self._gradient_maps.update({(self._layer, m): maps[i] for i, m in enumerate(methods)})
        return self._gradient_maps[key]

    def _assemble(self, methods: Sequence[GradientMapMethod]) -> list[Float32Array]:
        if not self._model.device.remote:
            wanted = [method.formula for method in methods]
            made = gradient_maps(self.activations, self.gradients, wanted)
            return [made[formula] for formula in wanted]
        formulas = tuple(method.graph_maps for method in methods)
        session = self._model.cam_session(formulas, self._layer)
        found = session.run(
            {name: self._seen[layer_output(name, self._layer)] for name in (ACTIVATIONS, GRADIENTS)}
        )
        return [found[name] for name in session.outputs]

    def noisy_gradients(self, copies: int, sigma: float) -> Iterator[Float32Array]:
        self._declared(Need.NOISY_GRADIENTS)
        for noise in self.noise(copies, sigma):
            self.passes += 1
            feeds = {IMAGE: self.images + noise, TARGET: self.targets}
            seen = self._model.session(Pass.GRADIENTS).run(feeds)
            yield seen[layer_output(GRADIENTS, self._layer)]

    def noise(self, copies: int, sigma: float) -> Iterator[Float32Array]:
        clean = self._clean.array
        spread = np.ptp(clean.reshape(len(clean), -1), axis=1)
        scale = (sigma * spread).astype(np.float32)[:, None, None, None]
        sources = [np.random.default_rng(key) for key in self.keys]
        for _ in range(copies):
            drawn = [rng.standard_normal(self.images.shape[1:], np.float32) for rng in sources]
            yield scale * np.stack(drawn)

    def note(self, image: int, text: str) -> None:
        self.notes[image] = text

    def rngs(self, resample: bool = False) -> list[np.random.Generator]:
        number = int(resample and self._input is not self._clean)
        return [np.random.default_rng([key, number]) for key in self.keys]

    def probability(self, image: int, logits: Float32Array) -> NDArray[np.float64]:
        targets = np.full(len(logits), self.targets[image])
        return probabilities(logits, targets, self._model.classifier.scores_kind)

    def masked_scores(
        self, image: int, masks: Float32Array, baseline: Float32Array | None = None
    ) -> Float32Array:
        need = Need.MASKED_SCORES if baseline is None else Need.BLENDED_SCORES
        self._declared(need)
        self.passes[image] += len(masks)
        shared = {IMAGE: self.images[image : image + 1]}
        if baseline is not None:
            shared[BASELINE] = baseline[None]
        logits: Float32Array = self._model.session(_OWN_PASSES[need]).run({MASKS: masks}, shared)[
            LOGITS
        ]
        return logits

    def suffix_scores(self, image: int, masks: Float32Array) -> Float32Array:
        self._declared(Need.SUFFIX_SCORES)
        self.passes[image] += len(masks)
        shared = {IMAGE: self.images[image : image + 1]}
        tail = self._model.tail(self._layer)
        if (
            tail.single_cut
            and ACTIVATIONS in self._seen
            and self._model.layers[self._layer].is_nchw_float32
        ):
            known = self._seen[layer_output(ACTIVATIONS, self._layer)].array[image : image + 1]
            seen = tail.run_from({MASKS: masks}, known)
        else:
            seen = tail.run({MASKS: masks}, shared)
        logits: Float32Array = seen[LOGITS]
        return logits

    @property
    def image_gradient(self) -> Float32Array:
        self._declared(Need.IMAGE_GRADIENT)
        if self._kind is Pass.IMAGE_GRADIENTS:
            found: Float32Array = self._seen[GRADIENTS].array
            return found
        return self._image_gradients(self.images)

    def image_gradients(self, images: Float32Array) -> Float32Array:
        self._declared(Need.IMAGE_GRADIENTS)
        return self._image_gradients(images)

    def _image_gradients(self, images: Float32Array) -> Float32Array:
        self.passes += 1
        session = self._model.session(Pass.IMAGE_GRADIENTS)
        found: Float32Array = session.run({IMAGE: images, TARGET: self.targets})[GRADIENTS]
        return found

    def share_gradients(self, shares: Float32Array) -> tuple[Float32Array, Float32Array]:
        self._declared(Need.SHARE_GRADIENTS)
        self.passes += 1
        feeds: Arrays = {
            IMAGE: self.images,
            ACTIVATIONS: self.activations,
            CHANNEL_LOGITS: shares,
            TARGET: self.targets,
        }
        seen = self._model.session(Pass.SHARE_GRADIENTS, self._layer).run(feeds)
        return seen[LOGITS], seen[GRADIENTS]

    def blank_scores(self) -> Float32Array:
        self._declared(Need.MASKED_SCORES)
        return self._model.blank_logits

    def _read(self, output: str, need: Need) -> Float32Array:
        self._declared(need)
        values: Float32Array = self._seen[layer_output(output, self._layer)].array
        return values

    def _declared(self, need: Need) -> None:
        if need not in self._needs:
            raise OptionError(f"a method reads {need.value} without declaring it in its `needs`")


def open_sessions(model: Model, needs: frozenset[Need], masked: bool = False) -> None:
    """Open the sessions that show `needs`; one that cannot be opened says so where it is read.

    Args:
        model: the classifier.
        needs: of one run and what comes with it.
        masked: whether the run is one through maps.
    """
    own = (_OWN_PASSES[need] for need in needs & _OWN_PASSES.keys())
    model.session(pass_for(needs), masked=masked)
    for kind, layer in itertools.product(own, range(len(model.layers))):
        with suppress(AdccError):
            model.session(kind, layer)


def pass_for(needs: frozenset[Need]) -> Pass:
    """The cheapest pass that shows all of `needs`."""
    if needs & {Need.GRADIENTS, Need.NOISY_GRADIENTS}:
        return Pass.GRADIENTS
    if Need.ACTIVATIONS in needs:
        return Pass.ACTIVATIONS
    return Pass.IMAGE_GRADIENTS if Need.IMAGE_GRADIENT in needs else Pass.FORWARD
