"""How far small runs on a card are filled up with repeated samples.

cuDNN plans every convolution again when the number of samples changes, which can take longer than
the run itself.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_FILLING = 4  # a run has at most this many times the rows of its samples
_SIZES = 8  # to which the numbers of rows are rounded up, so that there are few of them


class Filling:
    """Chooses numbers of rows that rarely change.

    Example:
        >>> filling = Filling()
        >>> [filling.rows(samples, 32) for samples in (25, 25, 9, 5, 5, 32, 30)]
        [25, 25, 25, 8, 8, 32, 32]
    """

    def __init__(self) -> None:
        self._rows = 0
        self._lock = threading.Lock()

    def rows(self, samples: int, most: int) -> int:
        """Return the number of rows for a run.

        Args:
            samples: The number of samples.
            most: The largest number of rows.
        """
        with self._lock:
            if not samples <= self._rows <= min(most, _MAX_FILLING * samples):
                step = 1 if self._rows == 0 or samples == 1 else -(-most // _SIZES)
                self._rows = min(most, -(-samples // step) * step)
            return self._rows


def filled(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """Repeat samples until there are enough of them.

    Args:
        array: The samples, [N, ...].
        rows: The number of rows; an array that has them is returned as it is.
    """
    return array if len(array) == rows else np.resize(array, (rows, *array.shape[1:]))
