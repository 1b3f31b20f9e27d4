"""The largest memory that this process had."""

from __future__ import annotations

import sys


def peak_memory() -> int:
    """Return the peak of the resident memory in bytes; 0 where the system does not say."""
    try:
        import resource  # available on POSIX systems only
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
