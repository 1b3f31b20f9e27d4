"""The raw maps of all gradient methods of one run, computed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adcc_onnx.cams.method import GradientMapMethod
from adcc_onnx.explanation.memory_strategy import MemoryStrategy
from adcc_onnx.graph.programs.tensor_names import ACTIVATIONS, GRADIENTS, layer_output
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.runtime.device_array import DeviceArray


class GradientMapCache:
    """Computes the raw maps of gradient methods on first use, for all of them at once.

    Args:
        memory: The strategy that computes the maps.
        values: The outputs of the run, with activations and gradients.
        methods: The methods whose maps will be read.
    """

    def __init__(
        self,
        memory: MemoryStrategy,
        values: Mapping[str, DeviceArray],
        methods: Sequence[GradientMapMethod] = (),
    ) -> None:
        self._memory, self._values, self._methods = memory, values, methods
        self._maps: dict[tuple[int, GradientMapMethod], Float32Array] = {}

    def compute(self, layers: int) -> None:
        """Compute the maps of all methods now.

        Args:
            layers: The number of layers.
        """
        for layer in range(layers if self._methods else 0):
            self.get(self._methods[0], layer)

    def get(self, method: GradientMapMethod, layer: int) -> Float32Array:
        """Return the raw maps of one method, float32 [N, h, w].

        Args:
            method: The method.
            layer: The index of the layer.
        """
        if (layer, method) not in self._maps:
            methods = list(dict.fromkeys([*self._methods, method]))
            activations, gradients = (
                self._values[layer_output(name, layer)] for name in (ACTIVATIONS, GRADIENTS)
            )
            maps = self._memory.gradient_maps(methods, layer, activations, gradients)
            self._maps.update(((layer, one), of) for one, of in zip(methods, maps, strict=True))
        return self._maps[layer, method]
