"""What a run of the model is shown: images, or images seen through their maps.

A device with a memory of its own is sent every image once; explanation maps are made there, from
maps of the layer's resolution. Elsewhere one kernel makes them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from adcc_onnx.graph.programs.tensor_names import BASELINE, IMAGE, MASKS
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.upsample import explanation_maps
from adcc_onnx.model import Model
from adcc_onnx.runtime.session import Arrays, Batched

Feeds = tuple[dict[str, Batched], Arrays]  # what goes in by the batch, and what all runs share


class ModelInput(Protocol):
    """N images as they go into a run."""

    @property
    def array(self) -> Float32Array:
        """The tensors, [N, C, H, W], in the host's memory."""

    def feeds(self) -> Feeds:
        """What the run is given."""


class PlainInput:
    """Images as they are.

    Args:
        model: that is to see them.
        array: normalized tensors, [N, C, H, W].
    """

    def __init__(self, model: Model, array: Float32Array) -> None:
        self._model, self.array = model, array

    @cached_property
    def held(self) -> Batched:
        """The tensors where the model runs."""
        return self._model.to_device(self.array)

    def feeds(self) -> Feeds:
        return {IMAGE: self.held}, {}

    def behind(self, maps: Float32Array, fill: Float32Array) -> MaskedInput:
        """e = x * M + fill (1 - M), for maps M [N, h, w] and a fill [C]."""
        return MaskedInput(self._model, self, maps, fill)


class MaskedInput:
    """Explanation maps of images."""

    def __init__(
        self, model: Model, clean: PlainInput, maps: Float32Array, fill: Float32Array
    ) -> None:
        self._model, self._clean, self._maps, self._fill = model, clean, maps, fill

    @cached_property
    def array(self) -> Float32Array:
        """e, made when first read."""
        return explanation_maps(self._clean.array, self._maps, self._fill)

    def feeds(self) -> Feeds:
        if not self._model.device.remote:
            return {IMAGE: self.array}, {}
        fill = np.asarray(self._fill, np.float32).reshape(1, -1, 1, 1)
        return {IMAGE: self._clean.held, MASKS: self._maps}, {BASELINE: fill}
