"""Finds arrays and rows that are equal bit by bit, so that the model runs once for all of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float32Array

_FINGERPRINT_STRIDE = 997  # a prime number, so that the columns of an image differ


def equal_groups(arrays: Sequence[Float32Array], kinds: Sequence[Hashable]) -> list[list[int]]:
    """Group arrays of one kind that are equal bit by bit.

    Args:
        arrays: The arrays, of any shapes.
        kinds: The kind of each array; arrays of different kinds are never grouped.

    Returns:
        Groups of indices of equal arrays. The groups of one kind stand together; otherwise they
        are in the order of their first members.

    Example:
        >>> one, two = np.ones(2, np.float32), np.zeros(2, np.float32)
        >>> equal_groups([one, two, one, one], ["a", "b", "a", "b"])
        [[0, 2], [1], [3]]
    """
    groups: dict[Hashable, list[list[int]]] = {}
    for index, (array, kind) in enumerate(zip(arrays, kinds, strict=True)):
        for group in groups.setdefault(kind, []):
            if _same_bits(arrays[group[0]], array):
                group.append(index)
                break
        else:
            groups[kind].append([index])
    return [group for of_kind in groups.values() for group in of_kind]


def first_equal_rows(
    rows: Float32Array, targets: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Find for each row the first row that equals it bit by bit.

    Args:
        rows: The rows, [N, ...].
        targets: One class per row; rows of different classes differ. None compares the rows only.

    Returns:
        The indices of the first equal rows, [N]; the index of the row itself where there is none
        before it.

    Example:
        >>> first_equal_rows(np.float32([[1, 2], [3, 4], [1, 2]])).tolist()
        [0, 1, 0]
    """
    count = len(rows)
    bits = _bits(rows).reshape(count, math.prod(rows.shape[1:]))
    classes = [0] * count if targets is None else targets.tolist()
    found = np.arange(count)
    candidates: dict[tuple[int, bytes], list[int]] = {}
    for row in range(count):
        # Most images differ in few values already; only candidates are compared as a whole.
        fingerprint = classes[row], bits[row, ::_FINGERPRINT_STRIDE].tobytes()
        others = candidates.setdefault(fingerprint, [])
        for other in others:
            if np.array_equal(bits[other], bits[row]):
                found[row] = other
                break
        else:
            others.append(row)
    return found


def _same_bits(one: Float32Array, other: Float32Array) -> bool:
    if one.shape != other.shape:
        return False
    return np.array_equal(_bits(one), _bits(other))


def _bits(array: Float32Array) -> NDArray[np.uint32]:
    return np.ascontiguousarray(array).view(np.uint32)
