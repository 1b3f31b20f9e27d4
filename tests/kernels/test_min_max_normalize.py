"""Tests of min-max normalization against its formula in float64."""

from __future__ import annotations

import numpy as np
import pytest

from adcc_onnx.kernels.min_max_normalize import min_max_normalize

HUGE = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).smallest_subnormal)


def _formula(maps: np.ndarray) -> np.ndarray:
    float64 = maps.astype(np.float64)
    low = float64.min(axis=(1, 2), keepdims=True)
    return (float64 - low) / (float64.max(axis=(1, 2), keepdims=True) - low)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("offset", [0.0, -3.0, 1e4])
def test_the_formula(scale, offset):
    rng = np.random.default_rng(0)
    maps = (scale * (rng.standard_normal((9, 5, 8)) + offset)).astype(np.float32)
    normalized, degenerate = min_max_normalize(maps)
    assert not degenerate.any()
    np.testing.assert_allclose(normalized, _formula(maps), rtol=1e-7, atol=0)
    assert (normalized.min(axis=(1, 2)) == 0).all()
    assert (normalized.max(axis=(1, 2)) == 1).all()


@pytest.mark.parametrize(
    "pair", [(-HUGE, HUGE), (0.0, TINY), (1.0, np.nextafter(1, 2, dtype="f4"))]
)
def test_the_largest_and_the_smallest_range(pair):
    maps = np.array([[pair, pair]], np.float32)
    normalized, degenerate = min_max_normalize(maps)
    np.testing.assert_array_equal(normalized, [[[0, 1], [0, 1]]])
    assert not degenerate[0]


@pytest.mark.parametrize("value", [0.0, -2.5, 0.1, HUGE, TINY])
def test_a_constant_map_is_degenerate_and_becomes_zeros(value):
    maps = np.full((3, 4, 4), value, np.float32)
    maps[1, 2, 2] = 1e-3
    normalized, degenerate = min_max_normalize(maps)
    np.testing.assert_array_equal(degenerate, [True, False, True])
    assert not normalized[[0, 2]].any() and normalized[1].any()


def test_a_map_of_one_pixel_is_degenerate():
    normalized, degenerate = min_max_normalize(np.ones((2, 1, 1)))
    assert degenerate.all() and not normalized.any()


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("location", [(0, 0), (1, 2), (3, 3)])
def test_a_non_finite_map_becomes_zeros_and_affects_no_other(invalid, location):
    maps = np.random.default_rng(1).random((3, 4, 4), dtype=np.float32)
    clean, _ = min_max_normalize(maps)
    maps[1][location] = invalid
    normalized, degenerate = min_max_normalize(maps)
    np.testing.assert_array_equal(degenerate, [False, True, False])
    assert not normalized[1].any()
    np.testing.assert_array_equal(normalized[[0, 2]], clean[[0, 2]])
