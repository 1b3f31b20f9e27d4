"""Small matrices on one core."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


def single_threaded_blas() -> AbstractContextManager[object]:
    """A context in which NumPy's linear algebra takes one thread.

    Spread over all cores, matrices of a hundred rows take longer, many times so where the cores
    are busy: the library's threads wait for each other in loops.
    """
    context: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return context


@functools.cache
def _controller() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  the controller knows the libraries that are loaded by now

    return ThreadpoolController()
