"""What a model shows of one batch of images: the `Evidence` that methods read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Floats, Need
from adcc_onnx.errors import OptionError
from adcc_onnx.graph.expose import TARGET
from adcc_onnx.graph.probe import ACTIVATIONS, GRADIENTS, IMAGE, LOGITS, MASKS, of_layer
from adcc_onnx.model import Model, Pass

_PREDICTED = -1


class Observation:
    """One run of the model on one batch, showing what `needs` names; see `cams.method.Evidence`.

    Args:
        model: the classifier.
        images: normalised tensors [N, C, H, W].
        targets: the explained classes [N]; the predicted ones if None.
        needs: what will be read; reading anything else is an error.
        keys: one whole number an image, from which its noise is drawn.
        clean: the images whose range scales the noise, where `images` are masked ones.
    """

    def __init__(
        self,
        model: Model,
        images: Floats,
        targets: NDArray[np.int64] | None,
        needs: frozenset[Need],
        keys: Sequence[int],
        clean: Floats | None = None,
    ) -> None:
        self.images = images
        self._layer = 0
        self._model = model
        self._needs = needs
        self._keys = keys
        self._clean = images if clean is None else clean
        kind = pass_for(needs)
        feeds: dict[str, NDArray[np.generic]] = {IMAGE: images}
        if kind is Pass.GRADIENTS:
            feeds[TARGET] = np.full(len(images), _PREDICTED) if targets is None else targets
        self._seen = model.session(kind).run(feeds)
        self.logits: Floats = self._seen[LOGITS]
        self.predicted: NDArray[np.int64] = self.logits.argmax(axis=1)
        self.targets: NDArray[np.int64] = self.predicted if targets is None else targets

    def layers(self) -> Iterator[Observation]:
        """The same run as each of the model's layers shows it."""
        for index in range(len(self._model.layers)):
            view = copy.copy(self)
            view._layer = index
            yield view

    @property
    def activations(self) -> Floats:
        return self._read(ACTIVATIONS, Need.ACTIVATIONS)

    @property
    def gradients(self) -> Floats:
        return self._read(GRADIENTS, Need.GRADIENTS)

    def noisy_gradients(self, copies: int, sigma: float) -> Iterator[Floats]:
        self._declared(Need.NOISY_GRADIENTS)
        spread = np.ptp(self._clean.reshape(len(self._clean), -1), axis=1)
        scale = (sigma * spread).astype(np.float32)[:, None, None, None]
        sources = [np.random.default_rng(key) for key in self._keys]
        for _ in range(copies):
            noise = [rng.standard_normal(self.images.shape[1:], np.float32) for rng in sources]
            feeds = {IMAGE: self.images + scale * np.stack(noise), TARGET: self.targets}
            seen = self._model.session(Pass.GRADIENTS).run(feeds)
            yield seen[of_layer(GRADIENTS, self._layer)]

    def masked_scores(self, image: int, masks: Floats) -> Floats:
        self._declared(Need.MASKED_SCORES)
        shared = {IMAGE: self.images[image : image + 1]}
        logits: Floats = self._model.session(Pass.MASKED).run({MASKS: masks}, shared)[LOGITS]
        return logits

    def blank_scores(self) -> Floats:
        self._declared(Need.MASKED_SCORES)
        return self._model.blank_logits

    def _read(self, output: str, need: Need) -> Floats:
        self._declared(need)
        values: Floats = self._seen[of_layer(output, self._layer)]
        return values

    def _declared(self, need: Need) -> None:
        if need not in self._needs:
            raise OptionError(f"a method reads {need.value} without declaring it in its `needs`")


def pass_for(needs: frozenset[Need]) -> Pass:
    """The cheapest pass that shows all of `needs`."""
    if needs & {Need.GRADIENTS, Need.NOISY_GRADIENTS}:
        return Pass.GRADIENTS
    return Pass.ACTIVATIONS if Need.ACTIVATIONS in needs else Pass.FORWARD
