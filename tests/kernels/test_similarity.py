"""Tests of Pearson's coefficient and the mean absolute value against SciPy and exact sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adcc_onnx.kernels.similarity import mean_abs, pearson


def _maps(seed: int, shape: tuple[int, ...] = (4, 31, 29)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def _scipy(a: np.ndarray, b: np.ndarray) -> list[float]:
    return [
        stats.pearsonr(x.ravel().astype(np.float64), y.ravel().astype(np.float64)).statistic
        for x, y in zip(a, b, strict=True)
    ]


def _summation_bound(values: np.ndarray) -> float:
    """Bound the relative error of a float64 sum of nonnegative numbers in any order."""
    return values.size * np.finfo(np.float64).eps / 2


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.999, -0.7])
@pytest.mark.parametrize("scale", [1.0, 1e-18, 1e15])
def test_pearson_against_scipy(mix, scale):
    a = _maps(0)
    b = ((mix * a + (1 - abs(mix)) * _maps(1)) * scale).astype(np.float32)
    np.testing.assert_allclose(pearson(a, b), _scipy(a, b), rtol=1e-12, atol=1e-14)


def test_pearson_where_a_difference_of_squares_cancels():
    """With a variance of 1e-7 about a mean of 1000, sum x^2 - n mean^2 loses half the digits."""
    a = (1000 + _maps(2, (3, 60, 60)) * 1e-3).astype(np.float32)
    b = (-500 + a * 0.5 + _maps(3, (3, 60, 60)) * 1e-4).astype(np.float32)
    np.testing.assert_allclose(pearson(a, b), _scipy(a, b), rtol=1e-9)


def test_pearson_with_an_outlier_as_first_pixel():
    """A map as Fake-CAM's: subtracting the first value must not reduce the precision."""
    a = np.ones((1, 224, 224), np.float32)
    a[0, 0, 0] = 0
    b = _maps(4, (1, 224, 224))
    assert pearson(a, a)[0] == 1.0
    np.testing.assert_allclose(pearson(a, b), _scipy(a, b), rtol=1e-11)


def test_pearson_of_maps_with_themselves():
    a = _maps(5)
    np.testing.assert_array_equal(pearson(a, a), np.ones(4))
    np.testing.assert_array_equal(pearson(a, -a), -np.ones(4))


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e-40, 3e38])
def test_pearson_is_minus_one_where_a_map_has_no_variance(value):
    a = _maps(6, (3, 17, 17))
    flat = np.full_like(a, value)
    np.testing.assert_array_equal(pearson(a, flat), -np.ones(3))
    np.testing.assert_array_equal(pearson(flat, a), -np.ones(3))
    np.testing.assert_array_equal(pearson(flat, flat), -np.ones(3))


def test_pearson_of_the_smallest_and_the_largest_numbers():
    a = np.array([[[0, 1], [2, 5]]], np.float32)
    for scale in (np.finfo(np.float32).smallest_subnormal, np.float32(6e37)):
        np.testing.assert_allclose(pearson(a, a * scale), [1.0], rtol=1e-14)


def test_nan_affects_the_correlation_of_its_image_only():
    a, b = _maps(7), _maps(8)
    expected = pearson(a, b)
    a[2, 3, 4] = np.nan
    found = pearson(a, b)
    assert math.isnan(found[2])
    np.testing.assert_array_equal(found[[0, 1, 3]], expected[[0, 1, 3]])


def test_pearson_of_two_sizes_raises():
    with pytest.raises(ValueError, match="shapes differ"):
        pearson(np.ones((1, 3, 3)), np.ones((1, 3, 4)))


def test_mean_abs_against_exact_sums():
    maps = _maps(9) - np.float32(0.5)
    exact = [math.fsum(abs(float(v)) for v in m.ravel()) / m.size for m in maps]
    np.testing.assert_allclose(mean_abs(maps), exact, rtol=_summation_bound(maps[0]))


def test_mean_abs_does_not_lose_small_pixels():
    """In float32 the small values would be rounded away: an error of 1,000 times the bound."""
    maps = np.full((1, 300, 300), 1e-8, np.float32)
    maps[0, :150] = 1.0
    exact = math.fsum(maps.ravel().tolist()) / maps.size
    np.testing.assert_allclose(mean_abs(maps), [exact], rtol=_summation_bound(maps[0]))
