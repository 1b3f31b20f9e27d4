"""Control over the threads of NumPy's linear algebra."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


def single_threaded_blas() -> AbstractContextManager[object]:
    """Return a context in which NumPy's linear algebra uses one thread.

    Matrices of about a hundred rows are slower on all cores than on one, many times slower on
    busy cores, because the threads of the BLAS library wait for each other in spin loops.

    Returns:
        A context manager; the previous number of threads is restored at its exit.

    Example:
        >>> import numpy as np
        >>> with single_threaded_blas():
        ...     np.linalg.eigvalsh(np.diag([2.0, 1.0])).tolist()
        [1.0, 2.0]
    """
    context: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return context


@functools.cache
def _controller() -> ThreadpoolController:
    # The controller finds only the libraries that are already loaded.
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()
