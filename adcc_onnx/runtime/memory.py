"""Memory that the process has freed, but the C library keeps for itself."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back() -> None:
    """Return freed memory to the system, where the C library can be told to (glibc).

    Opening a session frees more than twice the model's weights: what onnxruntime fused or packed
    anew. Kept, it would stand beside all that a run needs.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
