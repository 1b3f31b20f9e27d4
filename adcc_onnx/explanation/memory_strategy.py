"""Where arrays are stored and maps are computed: in the host's memory or in the device's own.

Everything that differs between a CPU and a device with its own memory is decided here, once per
batch. On a GPU each image is copied to the device once, activations and gradients stay there, and
only small maps and scores return.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from adcc_onnx.cams.method import GradientMapMethod
from adcc_onnx.errors import OutOfMemoryError
from adcc_onnx.graph.programs.tensor_names import ACTIVATIONS, GRADIENTS
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.gradient_maps import gradient_maps
from adcc_onnx.model import Model
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.device_thread import on_device
from adcc_onnx.runtime.pinned_memory import pinned_array
from adcc_onnx.runtime.session import Batched
from adcc_onnx.runtime.session_pool import make_room


class MemoryStrategy(Protocol):
    """How arrays reach the model, and where maps are computed from activations and gradients."""

    @property
    def masks_in_graph(self) -> bool:
        """Whether the model itself multiplies images by masks."""

    def empty(self, shape: tuple[int, ...]) -> Float32Array:
        """Return an uninitialized array for images that will be copied to the device.

        Args:
            shape: The shape of the array.
        """

    def to_device(self, array: Float32Array) -> Batched:
        """Return images where runs read them without another copy.

        Args:
            array: The images, [N, C, H, W].
        """

    def gradient_maps(
        self,
        methods: Sequence[GradientMapMethod],
        layer: int,
        activations: DeviceArray,
        gradients: DeviceArray,
    ) -> list[Float32Array]:
        """Compute the raw maps of several methods in one read of activations and gradients.

        Args:
            methods: The methods.
            layer: The index of the layer.
            activations: The activations A, [N, K, h, w].
            gradients: The gradients g, [N, K, h, w].

        Returns:
            The raw maps of each method, [N, h, w].
        """


class HostMemory:
    """The strategy of a device that uses the host's memory: nothing is copied.

    Args:
        model: The classifier.
    """

    masks_in_graph = False

    def __init__(self, model: Model) -> None:
        self._model = model

    def empty(self, shape: tuple[int, ...]) -> Float32Array:
        """Return an ordinary array."""
        return np.empty(shape, np.float32)

    def to_device(self, array: Float32Array) -> Batched:
        """Return the array itself."""
        return array

    def gradient_maps(
        self,
        methods: Sequence[GradientMapMethod],
        layer: int,
        activations: DeviceArray,
        gradients: DeviceArray,
    ) -> list[Float32Array]:
        """Compute the maps in a compiled kernel."""
        formulas = [method.formula for method in methods]
        maps = gradient_maps(activations.array, gradients.array, formulas)
        return [maps[formula] for formula in formulas]


class DeviceMemory:
    """The strategy of a device with its own memory: images are copied once, outputs stay there.

    Args:
        model: The classifier.
    """

    masks_in_graph = True

    def __init__(self, model: Model) -> None:
        self._model = model

    def empty(self, shape: tuple[int, ...]) -> Float32Array:
        """Return a page-locked array, which is copied at the full speed of the bus."""
        return on_device(self._model.device, lambda: pinned_array(shape))

    def to_device(self, array: Float32Array) -> Batched:
        """Copy the images to the device, in the parts of runs."""
        if not self._model.any_batch:  # the session repeats images on the host to fill a batch
            return array
        model, device = self._model, self._model.device
        try:
            return DeviceArray.put(array, device, model.batch, model.pool.filling)
        except OutOfMemoryError:
            if not make_room(device):
                return array  # the session copies it in smaller batches
        try:
            return DeviceArray.put(array, device, model.batch, model.pool.filling)
        except OutOfMemoryError:
            return array

    def gradient_maps(
        self,
        methods: Sequence[GradientMapMethod],
        layer: int,
        activations: DeviceArray,
        gradients: DeviceArray,
    ) -> list[Float32Array]:
        """Compute the maps on the device, in a graph of their own."""
        formulas = tuple(method.graph_maps for method in methods)
        session = self._model.pool.cam_session(formulas, layer)
        outputs = session.run({ACTIVATIONS: activations, GRADIENTS: gradients})
        return [outputs[name] for name in session.outputs]


def memory_strategy(model: Model) -> MemoryStrategy:
    """Return the strategy for the memory of a model's device.

    Args:
        model: The classifier.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> memory_strategy(adcc_onnx.load(classifier_path(), device="cpu")).masks_in_graph
        False
    """
    return DeviceMemory(model) if model.device.remote else HostMemory(model)
