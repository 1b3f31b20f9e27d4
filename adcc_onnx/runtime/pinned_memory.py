"""Page-locked arrays in the host's memory, which a GPU reads at the full speed of its bus."""

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

_PORTABLE = 1  # cudaHostAllocPortable: locked for all GPUs
Shape = tuple[int, ...]


def pinned_array(shape: Shape) -> NDArray[np.float32]:
    """Return an array for data that will be copied to a device.

    Args:
        shape: The shape of the array.

    Returns:
        An uninitialized float32 array; page-locked if CUDA is available, and ordinary otherwise.
    """
    pool = _pool()
    found = None if pool is None else pool.array(shape)
    return np.empty(shape, np.float32) if found is None else found


class PinnedArrays:
    """A pool of page-locked memory: locking is slow, so memory is reused after its array is freed.

    Args:
        runtime: CUDA's runtime library.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._free: defaultdict[Shape, list[int]] = defaultdict(list)
        self._lock = threading.Lock()

    def array(self, shape: Shape) -> NDArray[np.float32] | None:
        """Return an uninitialized array, or None if no memory can be locked.

        Args:
            shape: The shape of the array.
        """
        size = 4 * math.prod(shape)
        with self._lock:
            free = self._free[shape]
            address = free.pop() if free else self._locked(size)
        if address is None:
            return None
        block = (ctypes.c_char * size).from_address(address)
        # Every view of the array refers to the block; it is free after the last view is gone.
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
