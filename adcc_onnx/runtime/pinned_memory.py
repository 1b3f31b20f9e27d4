"""Page-locked arrays on the host: a card reads them at the full speed of its bus."""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.runtime import cuda
from adcc_onnx.runtime.devices import Device

_PORTABLE = 1  # cudaHostAllocPortable: locked for all cards
Shape = tuple[int, ...]


def host_array(shape: Shape, device: Device) -> NDArray[np.float32]:
    """An array to be filled and laid on a device; page-locked where that is a CUDA card."""
    pool = _pool() if device.remote else None
    found = None if pool is None else pool.array(shape)
    return np.empty(shape, np.float32) if found is None else found


class PinnedArrays:
    """Page-locked memory that is used again once its array is gone: locking it takes long.

    Args:
        runtime: CUDA's runtime library.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._free: defaultdict[Shape, list[int]] = defaultdict(list)
        self._lock = threading.Lock()

    def array(self, shape: Shape) -> NDArray[np.float32] | None:
        """An array of this shape, its values undefined; None where no memory can be locked."""
        size = 4 * math.prod(shape)
        with self._lock:
            free = self._free[shape]
            address = free.pop() if free else self._locked(size)
        if address is None:
            return None
        block = (ctypes.c_char * size).from_address(address)
        # Every view of the array keeps the block: once the last is gone, it is free again.
        weakref.finalize(block, self._free[shape].append, address).atexit = False
        return np.frombuffer(memoryview(block), np.float32).reshape(shape)

    def _locked(self, size: int) -> int | None:
        address = ctypes.c_void_p()
        failed = self._runtime.cudaHostAlloc(
            ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(_PORTABLE)
        )
        return None if failed else address.value


@cache
def _pool() -> PinnedArrays | None:
    library = cuda.runtime_library()
    return None if library is None else PinnedArrays(library)
