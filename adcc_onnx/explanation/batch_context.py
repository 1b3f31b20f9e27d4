"""What a model shows of one batch of images: the `Evidence` that methods read."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import AssembledMethod, Floats, Method, Need
from adcc_onnx.errors import AdccError, OptionError
from adcc_onnx.explanation.inputs import Images, Shown
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.graph.programs.endpoints import TARGET
from adcc_onnx.graph.programs.instrument import (
    ACTIVATIONS,
    BASELINE,
    GRADIENTS,
    IMAGE,
    LOGITS,
    MASKS,
    SHARES,
    of_layer,
)
from adcc_onnx.kernels.gradient_maps import assemble
from adcc_onnx.model import Model, Pass
from adcc_onnx.runtime.device_array import Kept
from adcc_onnx.runtime.session import Arrays

_PREDICTED = -1
# What methods are shown beside the run of the whole model.
_OWN_PASSES = {
    Need.MASKED_SCORES: Pass.MASKED,
    Need.BLENDED_SCORES: Pass.BLENDED,
    Need.TAIL_SCORES: Pass.TAIL,
    Need.IMAGE_GRADIENT: Pass.IMAGE_GRADIENTS,
    Need.IMAGE_GRADIENTS: Pass.IMAGE_GRADIENTS,
    Need.SHARE_GRADIENTS: Pass.SHARE_GRADIENTS,
}


class Observation:
    """One run of the model on one batch, showing what `needs` names; see `cams.method.Evidence`.

    Args:
        model: the classifier.
        images: normalised tensors [N, C, H, W].
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
        images: Floats,
        targets: NDArray[np.int64] | None,
        needs: frozenset[Need],
        keys: Sequence[int],
        together: Iterable[Method] = (),
    ) -> None:
        self._model, self._needs, self.keys = model, needs, keys
        self._layer = 0
        self._together = [m for m in together if isinstance(m, AssembledMethod)]
        self._clean = Images(model, images)
        self._look(self._clean, targets)

    def _look(self, shown: Shown, targets: NDArray[np.int64] | None) -> None:
        """Run the model."""
        self._shown = shown
        self.notes: dict[int, str] = {}
        self.passes = np.ones(len(self.keys), np.int64)
        self._assembled: dict[tuple[int, AssembledMethod], Floats] = {}
        self._kind = pass_for(self._needs)
        feeds, shared = shown.feeds()
        session = self._model.probe(self._kind, masked=MASKS in feeds)
        if self._kind in (Pass.GRADIENTS, Pass.IMAGE_GRADIENTS):
            feeds[TARGET] = np.full(len(self.keys), _PREDICTED) if targets is None else targets
        scores, self._seen = session.run_keeping(set(session.outputs) - {LOGITS}, feeds, shared)
        self.logits: Floats = scores[LOGITS]
        self.predicted: NDArray[np.int64] = self.logits.argmax(axis=1)
        self.targets: NDArray[np.int64] = self.predicted if targets is None else targets

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self._model.size

    def anew(self) -> Observation:
        """The same run for another method, with passes and notes of its own."""
        view = copy.copy(self)
        view.notes, view.passes = {}, np.ones(len(self.keys), np.int64)
        return view

    def of_others(self, images: Floats, needs: frozenset[Need]) -> Observation:
        """A run on changed versions of the images, [N, C, H, W]: the same classes and noise."""
        return self._again(Images(self._model, images), needs)

    def of_explanations(
        self, maps: Sequence[Floats], fill: Floats, needs: frozenset[Need]
    ) -> list[Observation]:
        """Runs on e = x * M + fill (1 - M), shared by several methods' maps.

        Args:
            maps: M of each method, [N, h, w] of any h and w.
            fill: [C].
            needs: what will be read.

        Returns:
            An observation for each method.
        """
        shown = [self._clean.behind(of_method, fill) for of_method in maps]
        if len(maps) == 1:
            return [self._again(shown[0], needs)]
        whole = copy.copy(self)
        whole.keys, whole._needs, whole._together = [*self.keys] * len(maps), needs, []
        joined = Images(self._model, np.concatenate([e.array for e in shown]))
        whole._look(joined, np.tile(self.targets, len(maps)))
        return [whole._part(self, e, index) for index, e in enumerate(shown)]

    def _part(self, first: Observation, shown: Shown, index: int) -> Observation:
        """The share of this run that is number `index` of those on the images of the first."""
        count = len(first.keys)
        here = slice(index * count, (index + 1) * count)
        device, batch = self._model.device, self._model.batch
        view = copy.copy(self)
        view.keys, view._shown, view._assembled, view.notes = first.keys, shown, {}, {}
        view._seen = {n: Kept.lay(k.array[here], device, batch) for n, k in self._seen.items()}
        view.logits, view.targets = self.logits[here], self.targets[here]
        view.predicted, view.passes = self.predicted[here], self.passes[here]
        return view

    def _again(self, shown: Shown, needs: frozenset[Need]) -> Observation:
        view = copy.copy(self)
        view._needs, view._together = needs, []
        view._look(shown, self.targets)
        return view

    def layers(self) -> Iterator[Observation]:
        """The same run as each of the model's layers shows it."""
        for index in range(len(self._model.layers)):
            view = copy.copy(self)
            view._layer = index
            yield view

    @property
    def images(self) -> Floats:
        return self._shown.array

    @property
    def activations(self) -> Floats:
        return self._read(ACTIVATIONS, Need.ACTIVATIONS)

    @property
    def tokens(self) -> bool:
        return self._model.layers[self._layer].kind == "tokens"

    @property
    def gradients(self) -> Floats:
        return self._read(GRADIENTS, Need.GRADIENTS)

    def assembled(self, method: AssembledMethod) -> Floats:
        key = (self._layer, method)
        if key not in self._assembled:
            self._declared(Need.ACTIVATIONS)
            self._declared(Need.GRADIENTS)
            methods = list(dict.fromkeys([*self._together, method]))
            maps = self._assemble(methods)
            self._assembled.update({(self._layer, m): maps[i] for i, m in enumerate(methods)})
        return self._assembled[key]

    def _assemble(self, methods: Sequence[AssembledMethod]) -> list[Floats]:
        if not self._model.device.remote:
            wanted = [method.assembly for method in methods]
            made = assemble(self.activations, self.gradients, wanted)
            return [made[assembly] for assembly in wanted]
        formulas = tuple(method.graph_maps for method in methods)
        session = self._model.assembler(formulas, self._layer)
        found = session.run(
            {name: self._seen[of_layer(name, self._layer)] for name in (ACTIVATIONS, GRADIENTS)}
        )
        return [found[name] for name in session.outputs]

    def noisy_gradients(self, copies: int, sigma: float) -> Iterator[Floats]:
        self._declared(Need.NOISY_GRADIENTS)
        for noise in self.noise(copies, sigma):
            self.passes += 1
            feeds = {IMAGE: self.images + noise, TARGET: self.targets}
            seen = self._model.session(Pass.GRADIENTS).run(feeds)
            yield seen[of_layer(GRADIENTS, self._layer)]

    def noise(self, copies: int, sigma: float) -> Iterator[Floats]:
        clean = self._clean.array
        spread = np.ptp(clean.reshape(len(clean), -1), axis=1)
        scale = (sigma * spread).astype(np.float32)[:, None, None, None]
        sources = [np.random.default_rng(key) for key in self.keys]
        for _ in range(copies):
            drawn = [rng.standard_normal(self.images.shape[1:], np.float32) for rng in sources]
            yield scale * np.stack(drawn)

    def note(self, image: int, text: str) -> None:
        self.notes[image] = text

    def generators(self, anew: bool = False) -> list[np.random.Generator]:
        number = int(anew and self._shown is not self._clean)
        return [np.random.default_rng([key, number]) for key in self.keys]

    def probability(self, image: int, logits: Floats) -> NDArray[np.float64]:
        targets = np.full(len(logits), self.targets[image])
        return probabilities(logits, targets, self._model.classifier.scores_kind)

    def masked_scores(self, image: int, masks: Floats, baseline: Floats | None = None) -> Floats:
        need = Need.MASKED_SCORES if baseline is None else Need.BLENDED_SCORES
        self._declared(need)
        self.passes[image] += len(masks)
        shared = {IMAGE: self.images[image : image + 1]}
        if baseline is not None:
            shared[BASELINE] = baseline[None]
        logits: Floats = self._model.session(_OWN_PASSES[need]).run({MASKS: masks}, shared)[LOGITS]
        return logits

    def tail_scores(self, image: int, masks: Floats) -> Floats:
        self._declared(Need.TAIL_SCORES)
        self.passes[image] += len(masks)
        shared = {IMAGE: self.images[image : image + 1]}
        tail = self._model.tail(self._layer)
        if tail.alone and ACTIVATIONS in self._seen and self._model.layers[self._layer].as_shown:
            known = self._seen[of_layer(ACTIVATIONS, self._layer)].array[image : image + 1]
            seen = tail.continued({MASKS: masks}, known)
        else:
            seen = tail.run({MASKS: masks}, shared)
        logits: Floats = seen[LOGITS]
        return logits

    @property
    def image_gradient(self) -> Floats:
        self._declared(Need.IMAGE_GRADIENT)
        if self._kind is Pass.IMAGE_GRADIENTS:
            found: Floats = self._seen[GRADIENTS].array
            return found
        return self._image_gradients(self.images)

    def image_gradients(self, images: Floats) -> Floats:
        self._declared(Need.IMAGE_GRADIENTS)
        return self._image_gradients(images)

    def _image_gradients(self, images: Floats) -> Floats:
        self.passes += 1
        session = self._model.session(Pass.IMAGE_GRADIENTS)
        found: Floats = session.run({IMAGE: images, TARGET: self.targets})[GRADIENTS]
        return found

    def share_gradients(self, shares: Floats) -> tuple[Floats, Floats]:
        self._declared(Need.SHARE_GRADIENTS)
        self.passes += 1
        feeds: Arrays = {
            IMAGE: self.images,
            ACTIVATIONS: self.activations,
            SHARES: shares,
            TARGET: self.targets,
        }
        seen = self._model.session(Pass.SHARE_GRADIENTS, self._layer).run(feeds)
        return seen[LOGITS], seen[GRADIENTS]

    def blank_scores(self) -> Floats:
        self._declared(Need.MASKED_SCORES)
        return self._model.blank_logits

    def _read(self, output: str, need: Need) -> Floats:
        self._declared(need)
        values: Floats = self._seen[of_layer(output, self._layer)].array
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
