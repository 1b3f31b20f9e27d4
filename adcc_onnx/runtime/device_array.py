"""Arrays that stay on a device until they are read on the host."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.onnxruntime_import import onnxruntime


class DeviceArray:
    """Samples on a device, in parts of one run each.

    Args:
        parts: The onnxruntime values, each with the number of its valid samples.

    Attributes:
        edges: The indices of the samples where parts start and end.

    Example:
        >>> from adcc_onnx.runtime.devices import choose_device
        >>> on_device = DeviceArray.put(np.ones((5, 2), np.float32), choose_device("cpu"), 2)
        >>> on_device.edges, on_device.array.shape
        ([0, 2, 4, 5], (5, 2))
    """

    def __init__(self, parts: Sequence[tuple[Any, int]]) -> None:
        self._parts = parts
        self.edges = [0, *itertools.accumulate(count for _, count in parts)]

    @classmethod
    def put(cls, array: NDArray[Any], device: Device, batch: int) -> DeviceArray:
        """Copy samples to a device.

        Args:
            array: The samples, [N, ...].
            device: The device.
            batch: The number of samples per part.
        """
        pieces = [array[start : start + batch] for start in range(0, len(array), batch)]
        device_array = cls([(to_ort_value(piece, device), len(piece)) for piece in pieces])
        device_array.array = array
        return device_array

    def __len__(self) -> int:
        return self.edges[-1]

    @cached_property
    def array(self) -> NDArray[Any]:
        """All samples in the host's memory; copied on first use, without a copy on the CPU."""
        arrays = [value.numpy()[:count] for value, count in self._parts]
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
    """
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *device.memory)
