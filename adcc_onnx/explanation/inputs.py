"""The inputs of a run: images as they are, or images multiplied by their maps."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from adcc_onnx.explanation.memory_strategy import MemoryStrategy
from adcc_onnx.graph.programs.tensor_names import BASELINE, IMAGE, MASKS
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.upsample import explanation_maps
from adcc_onnx.runtime.session import Arrays, Batched

# The inputs that are split into batches, and the inputs that all runs share.
Feeds = tuple[dict[str, Batched], Arrays]


class ModelInput(Protocol):
    """N images as the input of a run."""

    @property
    def array(self) -> Float32Array:
        """The tensors in the host's memory, [N, C, H, W]."""

    def feeds(self) -> Feeds:
        """Return the inputs of the session."""


class PlainInput:
    """Images as they are.

    Args:
        memory: The strategy of the model's device.
        array: The normalized tensors, float32 [N, C, H, W].

    Attributes:
        memory: The strategy.
        array: The tensors.
    """

    def __init__(self, memory: MemoryStrategy, array: Float32Array) -> None:
        self.memory, self.array = memory, array

    @cached_property
    def on_device(self) -> Batched:
        """The tensors where the model runs."""
        return self.memory.to_device(self.array)

    def feeds(self) -> Feeds:
        """Return the inputs of the session."""
        return {IMAGE: self.on_device}, {}

    def masked(self, maps: Float32Array, fill: Float32Array) -> MaskedInput:
        """Return the explanation maps e = x * M + fill * (1 - M).

        Args:
            maps: The maps M in [0, 1], [N, h, w] of any h and w.
            fill: The value of fully masked pixels, [C].
        """
        return MaskedInput(self, maps, fill)


class MaskedInput:
    """Explanation maps of images.

    Args:
        images: The images x.
        maps: The maps M, [N, h, w].
        fill: The value of fully masked pixels, [C].
    """

    def __init__(self, images: PlainInput, maps: Float32Array, fill: Float32Array) -> None:
        self._images, self._maps, self._fill = images, maps, fill

    @cached_property
    def array(self) -> Float32Array:
        """The explanation maps e in the host's memory, [N, C, H, W]; computed on first use."""
        return explanation_maps(self._images.array, self._maps, self._fill)

    def feeds(self) -> Feeds:
        """Return the inputs of the session."""
        if not self._images.memory.masks_in_graph:
            return {IMAGE: self.array}, {}
        fill = np.asarray(self._fill, np.float32).reshape(1, -1, 1, 1)
        return {IMAGE: self._images.on_device, MASKS: self._maps}, {BASELINE: fill}
