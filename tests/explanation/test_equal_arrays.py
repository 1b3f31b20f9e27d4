"""Equality of arrays is equality of their bits."""

from __future__ import annotations

import numpy as np

from adcc_onnx.explanation.equal_arrays import equal_groups, first_equal_rows


def test_zeros_of_both_signs_and_nan() -> None:
    zero, minus, nan = np.float32([0.0]), np.float32([-0.0]), np.float32([np.nan])
    assert equal_groups([zero, minus, nan, nan.copy()], [0, 0, 0, 0]) == [[0], [1], [2, 3]]
    assert first_equal_rows(np.stack([zero, minus, nan, nan, zero])).tolist() == [0, 1, 2, 2, 0]


def test_arrays_of_other_shapes_or_kinds_differ() -> None:
    flat, square = np.zeros(4, np.float32), np.zeros((2, 2), np.float32)
    assert equal_groups([flat, square, flat], ["one", "one", "other"]) == [[0], [1], [2]]
    assert equal_groups([], []) == []


def test_rows_that_differ_in_one_value_and_rows_of_other_classes() -> None:
    rows = np.zeros((4, 3, 20, 20), np.float32)
    rows[1, 2, 7, 13] = 1e-30
    assert first_equal_rows(rows).tolist() == [0, 1, 0, 0]
    assert first_equal_rows(rows, np.array([5, 5, 6, 5])).tolist() == [0, 1, 2, 0]
    assert first_equal_rows(rows[:0]).tolist() == []
    transposed = np.moveaxis(np.ones((3, 2, 5), np.float32), 0, 2)  # not contiguous
    assert first_equal_rows(transposed).tolist() == [0, 0]
