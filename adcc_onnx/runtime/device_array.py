"""Values that stay on the device where a session made or takes them, until somebody reads them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from adcc_onnx.runtime.devices import Device


class DeviceArray:
    """Samples on a device, in the parts in which runs take them.

    Args:
        parts: onnxruntime's values, each with how many of its samples count.
    """

    def __init__(self, parts: Sequence[tuple[Any, int]]) -> None:
        self._parts = parts
        self.edges = [0, *itertools.accumulate(count for _, count in parts)]

    @classmethod
    def put(cls, array: NDArray[Any], device: Device, batch: int) -> DeviceArray:
        """Lay samples on a device, so many a part."""
        pieces = [array[start : start + batch] for start in range(0, len(array), batch)]
        device_array = cls([(to_ort_value(piece, device), len(piece)) for piece in pieces])
        device_array.array = array
        return device_array

    def __len__(self) -> int:
        return self.edges[-1]

    @cached_property
    def array(self) -> NDArray[Any]:
        """All samples in the host's memory; fetched when first read, shared where it is there."""
        arrays = [value.numpy()[:count] for value, count in self._parts]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def part(self, start: int, stop: int) -> Any:
        """These samples: onnxruntime's own value where they are a whole part, else an array."""
        for low, (value, count) in zip(self.edges, self._parts, strict=False):
            if (low, low + count) == (start, stop):
                return value
        return self.array[start:stop]


def to_ort_value(array: NDArray[Any], device: Device) -> Any:
    """An array as onnxruntime's value on a device."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *device.memory)
