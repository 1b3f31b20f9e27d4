"""Arrays that stay on a device until they are read on the host."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.runtime.device_errors import device_errors
from adcc_onnx.runtime.device_thread import on_device
from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.filling import Filling, filled
from adcc_onnx.runtime.onnxruntime_import import onnxruntime


class DeviceArray:
    """Samples on a device, in parts of one run each.

    Args:
        parts: The onnxruntime values, each with the number of its valid samples; the samples after
            these fill up a batch.
        device: The device that holds the values; None for the host.

    Attributes:
        edges: The indices of the samples where parts start and end.

    Example:
        >>> from adcc_onnx.runtime.devices import choose_device
        >>> on_device = DeviceArray.put(np.ones((5, 2), np.float32), choose_device("cpu"), 2)
        >>> on_device.edges, on_device.array.shape
        ([0, 2, 4, 5], (5, 2))
    """

    def __init__(self, parts: Sequence[tuple[Any, int]], device: Device | None = None) -> None:
        self._parts, self._device = parts, device
        self.edges = [0, *itertools.accumulate(count for _, count in parts)]

    @classmethod
    def put(
        cls, array: NDArray[Any], device: Device, batch: int, filling: Filling | None = None
    ) -> DeviceArray:
        """Copy samples to a device.

        Args:
            array: The samples, [N, ...].
            device: The device.
            batch: The number of samples per part.
            filling: Chooses how far a small part is filled up; None does not fill up parts.

        Raises:
            OutOfMemoryError: The device's memory is too small.
        """
        parts = []
        for start in range(0, len(array), batch):
            piece = array[start : start + batch]
            rows = len(piece)
            if filling is not None:
                rows = batch if len(array) > batch else filling.rows(rows, batch)
            parts.append((to_ort_value(filled(piece, rows), device), len(piece)))
        device_array = cls(parts, device)
        device_array.array = array
        return device_array

    def __len__(self) -> int:
        return self.edges[-1]

    @cached_property
    def array(self) -> NDArray[Any]:
        """All samples in the host's memory; copied on first use, without a copy on the CPU."""
        device = self._device
        values = self._parts
        if device is None or not device.remote:
            arrays = [value.numpy()[:count] for value, count in values]
        else:
            with device_errors("onnxruntime failed to copy results from the device"):
                arrays = on_device(device, lambda: [one.numpy()[:n] for one, n in values])
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def part(self, start: int, stop: int) -> Any:
        """Return some samples: an onnxruntime value if they are a whole part, else an array.

        Args:
            start: The index of the first sample.
            stop: The index after the last sample.
        """
        for low, (value, count) in zip(self.edges, self._parts, strict=False):
            if (low, low + count) == (start, stop):
                return value
        return self.array[start:stop]


def to_ort_value(array: NDArray[Any], device: Device) -> Any:
    """Return an array as an onnxruntime value on a device.

    Args:
        array: The array.
        device: The device.

    Raises:
        OutOfMemoryError: The device's memory is too small.
    """
    copied = np.ascontiguousarray(array)
    with device_errors("onnxruntime failed to copy images to the device"):
        return on_device(
            device, lambda: onnxruntime.OrtValue.ortvalue_from_numpy(copied, *device.memory)
        )
