"""The host's memory: what sessions take on a CPU, and what the C library keeps of it."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import onnxruntime


def share_arena(options: Any) -> None:
    """Let a session on the CPU share its working memory with the others: few run at a time.

    Memory planned by the first run (a memory pattern) would lie beside what that run took, and
    saves no time on a CPU.

    Args:
        options: an `onnxruntime.SessionOptions`.
    """
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False


def trim_heap() -> None:
    """Return freed memory to the system, where the C library can be told to (glibc).

    Opening a session frees more than twice the model's weights: what onnxruntime fused or packed
    anew. Kept, it would stand beside all that a run needs.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _register_arena() -> None:
    """One arena for all sessions of the process; weights lie beside it and go with a session."""
    kinds, places = onnxruntime.OrtAllocatorType, onnxruntime.OrtMemType
    where = onnxruntime.OrtMemoryInfo("Cpu", kinds.ORT_ARENA_ALLOCATOR, 0, places.DEFAULT)
    onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({}))


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
