"""Compilation of the kernels and their distribution over the CPU cores.

A kernel processes the images `start` to `stop` of a batch and releases Python's global interpreter
lock (GIL), so that ordinary Python threads run it on all cores. This replaces Numba's own
`parallel=True`, which takes four times as long to compile and whose `workqueue` threading layer
(the fallback without TBB and OpenMP) aborts the process if two threads run parallel kernels at
once. Here any thread may call any kernel, and results do not depend on the number of threads.

Numba compiles one version per combination of dtype, memory layout and writability; callers pass
arrays through `as_kernel_array` so that a single version suffices. A function that a kernel calls
must be in the same file, because Numba's cache only detects changes of the kernel's own file.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    # Allow the reordering of sums for vectorization, but keep the semantics of NaN and Inf.
    "fastmath": {"reassoc", "contract", "nsz"},
}

_callers = threading.local()


@contextmanager
def share_threads(callers: int) -> Iterator[None]:
    """Divide the threads of the kernels among threads that call kernels at the same time.

    If each of them used all cores, parts of kernels would interrupt the other callers' work.

    Args:
        callers: Number of threads that call kernels, at least 1. Each of them enters this context
            for itself.

    Example:
        >>> with share_threads(2):
        ...     pass  # kernels that this thread calls use half of the threads
    """
    before = getattr(_callers, "count", 1)
    _callers.count = callers
    try:
        yield
    finally:
        _callers.count = before


def kernel(
    function: Callable[Concatenate[int, int, P], None],
) -> Callable[Concatenate[int, P], None]:
    """Compile a function that processes the images `start` to `stop` of a batch.

    The function is compiled at its first call and cached on disk. Images must be independent of
    each other.

    Args:
        function: Function `(start, stop, *arrays)` that fills its output arrays for these images.

    Returns:
        A function `(count, *arrays)` that processes all `count` images, divided among
        `NUMBA_NUM_THREADS` threads (by default one per core), or among this thread's part of them
        within `share_threads`.

    Example:
        >>> @kernel
        ... def double(start, stop, values, doubled):
        ...     for i in range(start, stop):
        ...         doubled[i] = 2.0 * values[i]
        >>> doubled = np.empty(3)
        >>> double(3, np.arange(3.0), doubled)
        >>> doubled.tolist()
        [0.0, 2.0, 4.0]
    """
    compiled = _compiled(function)

    @functools.wraps(function)
    def run_batch(count: int, *args: P.args, **kwargs: P.kwargs) -> None:
        available = numba.config.NUMBA_NUM_THREADS // getattr(_callers, "count", 1)
        threads = min(count, available)
        if threads <= 1:
            compiled(0, count, *args, **kwargs)
            return
        bounds = [count * t // threads for t in range(threads + 1)]
        first, *others = itertools.pairwise(bounds)
        pool = _pool()
        submitted = [(part, pool.submit(compiled, *part, *args, **kwargs)) for part in others]
        compiled(*first, *args, **kwargs)
        for part, future in submitted:
            # If the cores are busy, running a pending part here is faster than waiting for it.
            if future.cancel():
                compiled(*part, *args, **kwargs)
            else:
                future.result()

    return cast("Callable[Concatenate[int, P], None]", run_batch)


def sequential_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that runs in the calling thread alone, for callers with own threads.

    The function is compiled at its first call and cached on disk.

    Args:
        function: Function to compile.

    Returns:
        The compiled function.
    """
    return _compiled(function)


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function for use in the kernels of the same file.

    Args:
        function: Function to compile.

    Returns:
        The compiled function.
    """
    return cast("Callable[P, R]", numba.njit(**_OPTIONS)(function))


def as_kernel_array(array: ArrayLike, dimensions: int) -> NDArray[np.float32]:
    """Convert an array to what the kernels accept: float32, contiguous and writable.

    Args:
        array: Array to convert.
        dimensions: Number of dimensions that the kernel expects.

    Returns:
        The array itself if it qualifies, else a converted copy.

    Raises:
        ValueError: The array has another number of dimensions, or its images are empty.

    Example:
        >>> as_kernel_array([[1, 2], [3, 4]], dimensions=2).dtype
        dtype('float32')
    """
    ready = np.require(array, np.float32, ("C", "A", "W"))
    if ready.ndim != dimensions or 0 in ready.shape[1:]:
        raise ValueError(
            f"expected {dimensions} dimensions and images that are not empty, got shape "
            f"{ready.shape}"
        )
    return ready


def require_same_shape(first: NDArray[Any], second: NDArray[Any]) -> None:
    """Check that two arrays have one shape, since compiled code does not check array bounds.

    Args:
        first: First array.
        second: Second array.

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"shapes differ: {first.shape} and {second.shape}")


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    try:
        compiled = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # Without a writable cache folder, each process compiles for itself.
        compiled = numba.njit(**_OPTIONS)(function)
    return cast("Callable[P, R]", compiled)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, thread_name_prefix="adcc-kernel")


# A forked child process inherits the pool without its threads and would wait for them forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
