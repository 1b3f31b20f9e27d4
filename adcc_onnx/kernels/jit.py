"""How every kernel of this package is compiled and spread over the cores, in one place.

A kernel is written for the images `start` to `stop` of a batch and never holds the interpreter's
lock, so that Python threads run it on all cores. That replaces Numba's own `parallel=True`, which
takes four times as long to compile, and whose `workqueue` layer (the one left where neither TBB
nor OpenMP is found) aborts the process when two threads run parallel kernels at once. Here any
thread may call any kernel, and the numbers do not depend on how many threads there are.

Each combination of dtype, memory layout and writability is compiled anew: callers pass arrays
through `as_kernel_array`. Helpers that a kernel calls must stand in its file: the cache watches
no other.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    # Sums may be reordered to fill vector registers; NaN and Inf keep their meaning.
    "fastmath": {"reassoc", "contract", "nsz"},
}


def kernel(
    function: Callable[Concatenate[int, int, P], None],
) -> Callable[Concatenate[int, P], None]:
    """Compile `function(start, stop, *arrays)`, which fills its output for those images.

    Compiled on first use and cached on disk. The result is called as `function(count, *arrays)`
    and runs for all `count` images, divided among `NUMBA_NUM_THREADS` threads (default: one a
    core). Images must not depend on each other.
    """
    compiled = _compiled(function)

    @functools.wraps(function)
    def over_all(count: int, *args: P.args, **kwargs: P.kwargs) -> None:
        threads = min(count, numba.config.NUMBA_NUM_THREADS)
        if threads <= 1:
            compiled(0, count, *args, **kwargs)
            return
        edges = [count * t // threads for t in range(threads + 1)]
        first, *others = itertools.pairwise(edges)
        pool = _pool()
        begun = [(part, pool.submit(compiled, *part, *args, **kwargs)) for part in others]
        compiled(*first, *args, **kwargs)
        for part, future in begun:
            # Where the cores are busy, a part that still waits for one is done sooner here.
            if future.cancel():
                compiled(*part, *args, **kwargs)
            else:
                future.result()

    return cast("Callable[Concatenate[int, P], None]", over_all)


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that kernels of the same file call."""
    return cast("Callable[P, R]", numba.njit(**_OPTIONS)(function))


def as_kernel_array(array: ArrayLike, dimensions: int) -> NDArray[np.float32]:
    """`array` as the kernels take it: float32, contiguous, writable; a copy only where it is not.

    Raises:
        ValueError: it has another number of dimensions, or its images are empty.
    """
    ready = np.require(array, np.float32, ("C", "A", "W"))
    if ready.ndim != dimensions or 0 in ready.shape[1:]:
        raise ValueError(f"expected {dimensions} dimensions, none empty, got shape {ready.shape}")
    return ready


def require_same_shape(first: NDArray[Any], second: NDArray[Any]) -> None:
    """Compiled code reads past the end of a shorter array, so shapes are compared before.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"shapes differ: {first.shape} and {second.shape}")


def _compiled(
    function: Callable[Concatenate[int, int, P], None],
) -> Callable[Concatenate[int, int, P], None]:
    try:
        compiled = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder for the cache can be written to: compile in every process
        compiled = numba.njit(**_OPTIONS)(function)
    return cast("Callable[Concatenate[int, int, P], None]", compiled)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, thread_name_prefix="adcc-kernel")


# A forked child inherits the pool without its threads, and would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
