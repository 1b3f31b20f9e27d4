"""Channel weights and weighted sums against float64 einsum and loops from the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from adcc_onnx.kernels.assembly import (
    averaged_gradcam_pp_weights,
    gradcam_pp_weights,
    gradient_means,
    location_weighted_sum,
    weighted_sum,
    xgradcam_weights,
)

SHAPE = (3, 40, 7, 5)


def _pair(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Activations after a ReLU, with one dead channel, and gradients of either sign."""
    rng = np.random.default_rng(seed)
    a = np.maximum(rng.standard_normal(shape), 0).astype(np.float32)
    a[:, 1] = 0
    return a, (1e-2 * rng.standard_normal(shape)).astype(np.float32)


def _wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def _pp_loop(a: np.ndarray, g: np.ndarray, g2: np.ndarray, g3: np.ndarray) -> np.ndarray:
    """Grad-CAM++'s weights, location by location."""
    weights = np.zeros(a.shape[:2])
    for n, k in np.ndindex(*weights.shape):
        mass = a[n, k].sum()
        for i, j in np.ndindex(*a.shape[2:]):
            denominator = 2 * g2[n, k, i, j] + mass * g3[n, k, i, j]
            alpha = g2[n, k, i, j] / denominator if denominator else 0.0
            weights[n, k] += alpha * max(g[n, k, i, j], 0.0)
    return weights


def test_weighted_sum():
    a, _ = _pair()
    w = np.random.default_rng(1).standard_normal(SHAPE[:2]).astype(np.float32)
    expected = np.maximum(np.einsum("nkij,nk->nij", *_wide(a, w)), 0)
    assert (expected == 0).any() and (expected > 0).any()
    np.testing.assert_allclose(weighted_sum(a, w), expected, rtol=1e-6, atol=1e-12)


def test_weighted_sum_adds_in_float64():
    """Two huge channels cancel; in float32 they would take the small one with them."""
    a = np.array([1e8, 1.0, 1e8], np.float32).reshape(1, 3, 1, 1)
    assert weighted_sum(a, [[1.0, 0.25, -1.0]])[0, 0, 0] == 0.25


@pytest.mark.parametrize("positive_only", [True, False])
def test_location_weighted_sum(positive_only):
    a, g = _pair(2)
    wide_a, wide_g = _wide(a, g)
    slope = np.maximum(wide_g, 0) if positive_only else wide_g
    expected = np.maximum((slope * wide_a).sum(axis=1), 0)
    found = location_weighted_sum(a, g, positive_only)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_location_weighted_sum_of_signed_activations():
    """ReLU comes last: negative activations count against the map, as after GELU or SiLU."""
    a = np.array([[[[2.0]], [[-3.0]]]], np.float32)
    g = np.array([[[[1.0]], [[0.5]]]], np.float32)
    assert location_weighted_sum(a, g, True)[0, 0, 0] == 0.5
    assert location_weighted_sum(-a, g, True)[0, 0, 0] == 0.0


def test_gradient_means():
    _, g = _pair(3)
    np.testing.assert_allclose(gradient_means(g), _wide(g)[0].mean(axis=(2, 3)), rtol=1e-6)


def test_xgradcam_weights():
    a, g = _pair(4)
    wide_a, wide_g = _wide(a, g)
    mass = wide_a.sum(axis=(2, 3))
    expected = np.where(mass == 0, 0, (wide_a * wide_g).sum(axis=(2, 3)) / np.where(mass, mass, 1))
    found = xgradcam_weights(a, g)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (found[:, 1] == 0).all()


def test_gradcam_pp_weights():
    a, g = _pair(5)
    g[:, 2] = 0
    wide_a, wide_g = _wide(a, g)
    expected = _pp_loop(wide_a, wide_g, wide_g**2, wide_g**3)
    found = gradcam_pp_weights(a, g)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (found[:, 2] == 0).all()


def test_gradcam_pp_weights_where_the_denominator_is_exactly_zero():
    """S = 4 and g = -0.5 make 2 g^2 + S g^3 vanish; g = 0.5 has alpha = 1/4."""
    a = np.ones((1, 1, 2, 2), np.float32)
    g = np.array([[[[-0.5, 0.5], [0.0, 0.0]]]], np.float32)
    np.testing.assert_array_equal(gradcam_pp_weights(a, g), [[0.125]])


def test_gradcam_pp_weights_of_small_gradients():
    """alpha = 1/(2 + S g) whatever the size of g: no epsilon, and no power leaves the range."""
    a, g = _pair(6)
    g *= np.float32(1e-18)
    wide_a, wide_g = _wide(a, g)
    mass = wide_a.sum(axis=(2, 3), keepdims=True)
    expected = (np.maximum(wide_g, 0) / (2 + mass * wide_g)).sum(axis=(2, 3))
    np.testing.assert_allclose(gradcam_pp_weights(a, g), expected, rtol=1e-6)


def test_averaged_gradcam_pp_weights():
    a, _ = _pair(7)
    copies = np.stack([_pair(seed)[1] for seed in range(8, 13)]).astype(np.float64)
    averages = tuple((copies**power).mean(axis=0) for power in (1, 2, 3))
    expected = _pp_loop(a.astype(np.float64), *averages)
    np.testing.assert_allclose(averaged_gradcam_pp_weights(a, averages), expected, rtol=1e-6)


def test_averaged_weights_of_one_copy_are_gradcam_pp():
    a, g = _pair(8)
    (wide,) = _wide(g)
    np.testing.assert_allclose(
        averaged_gradcam_pp_weights(a, (wide, wide**2, wide**3)),
        gradcam_pp_weights(a, g),
        rtol=1e-6,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_value_reaches_the_map_of_its_image_alone(bad):
    """ReLU must not hide it, wherever it enters."""
    a, g = _pair(9)
    for broken in (0, 1):
        pair = [a.copy(), g.copy()]
        pair[broken][1, 3, 2, 2] = bad
        maps = [
            weighted_sum(pair[0], gradient_means(pair[1])),
            weighted_sum(pair[0], xgradcam_weights(*pair)),
            location_weighted_sum(*pair, True),
            location_weighted_sum(*pair, False),
        ]
        for found in maps:
            finite = np.isfinite(found).all(axis=(1, 2))
            np.testing.assert_array_equal(finite, [True, False, True])
    pair = [a, g.copy()]
    pair[1][1, 3, 2, 2] = np.nan
    assert np.isnan(gradcam_pp_weights(*pair)[1, 3])


@pytest.mark.parametrize("shape", [(3, 40, 7, 4), (2, 40, 7, 5), (3, 41, 7, 5)])
def test_shapes_that_do_not_fit_are_refused(shape):
    a, _ = _pair()
    other = np.zeros(shape, np.float32)
    for call in (
        lambda: location_weighted_sum(a, other, True),
        lambda: xgradcam_weights(a, other),
        lambda: gradcam_pp_weights(a, other),
        lambda: averaged_gradcam_pp_weights(a, (other,) * 3),
    ):
        with pytest.raises(ValueError, match="shapes differ"):
            call()


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        weighted_sum(np.ones((2, 3, 4, 4)), np.ones((2, 4)))
