"""The host's memory: one arena for all CPU sessions, and the heap of the C library."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

from adcc_onnx.runtime.onnxruntime_import import onnxruntime


def share_arena(options: Any) -> None:
    """Let a CPU session share its working memory with all others, of which few run at a time.

    Memory patterns are disabled: they need additional memory and save no time on a CPU.

    Args:
        options: The `onnxruntime.SessionOptions` of the session.
    """
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False


def trim_heap() -> None:
    """Return freed memory to the operating system, if the C library supports it (glibc).

    Opening a session frees more memory than twice the model's weights, because onnxruntime fuses
    and packs weights. The C library would keep this memory while the session runs.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _register_arena() -> None:
    """Register one arena for all sessions of the process; weights are not part of it."""
    kinds, places = onnxruntime.OrtAllocatorType, onnxruntime.OrtMemType
    where = onnxruntime.OrtMemoryInfo("Cpu", kinds.ORT_ARENA_ALLOCATOR, 0, places.DEFAULT)
    onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({}))


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
