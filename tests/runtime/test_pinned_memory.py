"""Page-locked arrays are locked once and reused after their last view is gone."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import pytest

from adcc_onnx.runtime import pinned_memory as pinned
from adcc_onnx.runtime.pinned_memory import PinnedArrays, pinned_array


class Runtime:
    """A CUDA runtime library with ordinary memory."""

    def __init__(self, blocks: int = 100) -> None:
        self.blocks: list[Any] = []
        self._most = blocks

    def cudaHostAlloc(self, address: Any, size: ctypes.c_size_t, flags: ctypes.c_uint) -> int:  # noqa: N802
        if len(self.blocks) == self._most:
            return 2  # out of memory
        self.blocks.append(ctypes.create_string_buffer(size.value))
        address._obj.value = ctypes.addressof(self.blocks[-1])
        return 0


def test_memory_is_reused_after_the_last_view_is_gone() -> None:
    runtime = Runtime()
    arrays = PinnedArrays(runtime)
    first = arrays.array((2, 3))
    second = arrays.array((2, 3))
    assert first is not None and second is not None
    first[:], second[:] = 1, 2
    part = first[1:]
    del first
    gc.collect()
    third = arrays.array((2, 3))
    assert third is not None and len(runtime.blocks) == 3
    third[:] = 3
    np.testing.assert_array_equal(part, [[1, 1, 1]])
    where = part.ctypes.data - 12
    del part
    gc.collect()
    fourth = arrays.array((2, 3))
    assert fourth is not None and fourth.ctypes.data == where and len(runtime.blocks) == 3
    assert fourth.dtype == np.float32 and fourth.flags.c_contiguous and fourth.flags.writeable


def test_memory_is_ordinary_if_it_cannot_be_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pinned_array((3, 4)).shape == (3, 4)
    arrays = PinnedArrays(Runtime(blocks=1))
    monkeypatch.setattr(pinned, "_pool", lambda: arrays)
    kept = [pinned_array((3, 4)) for _ in range(3)]
    for value, array in enumerate(kept):
        array[:] = value
    assert [array[2, 3] for array in kept] == [0, 1, 2]
