"""Tests of channel weights and maps against float64 einsum and loops over the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from adcc_onnx.kernels.gradient_maps import (
    GradientFormula,
    gradcam_weights,
    gradient_maps,
    smoothgradcam_pp_weights,
    weighted_sum,
)

SHAPE = (3, 40, 7, 5)


def _pair(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Return activations after a ReLU, with one dead channel, and gradients of both signs."""
    rng = np.random.default_rng(seed)
    a = np.maximum(rng.standard_normal(shape), 0).astype(np.float32)
    a[:, 1] = 0
    return a, (1e-2 * rng.standard_normal(shape)).astype(np.float32)


def _float64(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def _pp_loop(a: np.ndarray, g: np.ndarray, g2: np.ndarray, g3: np.ndarray) -> np.ndarray:
    """Compute Grad-CAM++'s weights, location by location."""
    weights = np.zeros(a.shape[:2])
    for n, k in np.ndindex(*weights.shape):
        activation_sum = a[n, k].sum()
        for i, j in np.ndindex(*a.shape[2:]):
            denominator = 2 * g2[n, k, i, j] + activation_sum * g3[n, k, i, j]
            alpha = g2[n, k, i, j] / denominator if denominator else 0.0
            weights[n, k] += alpha * max(g[n, k, i, j], 0.0)
    return weights


def test_weighted_sum():
    a, _ = _pair()
    w = np.random.default_rng(1).standard_normal(SHAPE[:2]).astype(np.float32)
    expected = np.maximum(np.einsum("nkij,nk->nij", *_float64(a, w)), 0)
    assert (expected == 0).any() and (expected > 0).any()
    np.testing.assert_allclose(weighted_sum(a, w), expected, rtol=1e-6, atol=1e-12)


def test_weighted_sum_adds_in_float64():
    """Two large channels cancel; in float32 the small third one would be rounded away."""
    a = np.array([1e8, 1.0, 1e8], np.float32).reshape(1, 3, 1, 1)
    assert weighted_sum(a, [[1.0, 0.25, -1.0]])[0, 0, 0] == 0.25


def _expected(a: np.ndarray, g: np.ndarray) -> dict[GradientFormula, np.ndarray]:
    """Compute all maps in float64 from their definitions."""
    a, g = _float64(a, g)
    activation_sum = a.sum(axis=(2, 3))
    along = np.where(
        activation_sum == 0,
        0,
        (a * g).sum(axis=(2, 3)) / np.where(activation_sum == 0, 1, activation_sum),
    )
    by_channel = {
        GradientFormula.GRADCAM: g.mean(axis=(2, 3)),
        GradientFormula.GRADCAM_PP: _pp_loop(a, g, g**2, g**3),
        GradientFormula.XGRADCAM: along,
    }
    weights = {name: w[:, :, None, None] for name, w in by_channel.items()}
    weights |= {GradientFormula.LAYERCAM: np.maximum(g, 0), GradientFormula.HIRESCAM: g}
    maps = {name: np.maximum((w * a).sum(axis=1), 0) for name, w in weights.items()}
    maps[GradientFormula.ELEMENTWISE] = np.maximum(g * a, 0).sum(axis=1)
    maps[GradientFormula.CAM] = np.einsum("nk,nkij->nij", g.sum(axis=(2, 3)), a)
    return maps


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "formulas",
    [
        list(GradientFormula),
        [GradientFormula.HIRESCAM, GradientFormula.GRADCAM],
        *([one] for one in GradientFormula),
    ],
)
def test_all_maps_in_one_pass(formulas, signed):
    a, g = _pair(2)
    g[:, 2] = 0
    if (
        signed
    ):  # As after GELU or SiLU: negative activations contribute, since ReLU is applied last.
        a -= np.float32(0.3)
        a[:, 1] = 0
    found, expected = gradient_maps(a, g, formulas), _expected(a, g)
    assert list(found) == formulas
    for name, maps in found.items():
        np.testing.assert_allclose(maps, expected[name], rtol=1e-6, atol=1e-9)
        assert (expected[name] > 0).any()


def test_gradcam_pp_where_the_denominator_is_exactly_zero():
    """S = 4 and g = -0.5 make 2 g^2 + S g^3 vanish; g = 0.5 has alpha = 1/4."""
    a = np.ones((1, 1, 2, 2), np.float32)
    g = np.array([[[[-0.5, 0.5], [0.0, 0.0]]]], np.float32)
    found = gradient_maps(a, g, [GradientFormula.GRADCAM_PP])[GradientFormula.GRADCAM_PP]
    np.testing.assert_array_equal(found, np.full((1, 2, 2), 0.125))
    # Signed activations: S = -4 and g = 0.5.
    found = gradient_maps(-a, g, [GradientFormula.GRADCAM_PP])[GradientFormula.GRADCAM_PP]
    np.testing.assert_array_equal(found, np.zeros((1, 2, 2)))


def test_gradcam_pp_of_small_gradients():
    """alpha = 1 / (2 + S g) for any size of g: no epsilon, and no power underflows."""
    a, g = _pair(6)
    g *= np.float32(1e-18)
    float64_a, float64_g = _float64(a, g)
    activation_sum = float64_a.sum(axis=(2, 3), keepdims=True)
    weights = (np.maximum(float64_g, 0) / (2 + activation_sum * float64_g)).sum(
        axis=(2, 3), keepdims=True
    )
    found = gradient_maps(a, g, [GradientFormula.GRADCAM_PP])[GradientFormula.GRADCAM_PP]
    np.testing.assert_allclose(found, (weights * float64_a).sum(axis=1), rtol=1e-6)


def test_gradient_means():
    _, g = _pair(3)
    np.testing.assert_allclose(gradcam_weights(g), _float64(g)[0].mean(axis=(2, 3)), rtol=1e-6)


def test_smoothgradcam_pp_weights():
    a, _ = _pair(7)
    copies = np.stack([_pair(seed)[1] for seed in range(8, 13)]).astype(np.float64)
    moments = tuple((copies**power).mean(axis=0) for power in (1, 2, 3))
    expected = _pp_loop(a.astype(np.float64), *moments)
    np.testing.assert_allclose(smoothgradcam_pp_weights(a, moments), expected, rtol=1e-6)


def test_smoothgradcam_pp_of_one_copy_is_gradcam_pp():
    a, g = _pair(8)
    (gradient,) = _float64(g)
    weights = smoothgradcam_pp_weights(a, (gradient, gradient**2, gradient**3))
    expected = gradient_maps(a, g, [GradientFormula.GRADCAM_PP])[GradientFormula.GRADCAM_PP]
    np.testing.assert_allclose(weighted_sum(a, weights), expected, rtol=1e-6)


@pytest.mark.parametrize("invalid", [np.nan, np.inf])
@pytest.mark.parametrize("argument", [0, 1])
def test_an_invalid_value_affects_the_map_of_its_image_only(invalid, argument):
    """ReLU must not turn an invalid activation or gradient into zero."""
    pair = list(_pair(9))
    pair[argument][1, 3, 2, 2] = invalid
    maps = gradient_maps(*pair, list(GradientFormula)).values()
    for found in (*maps, weighted_sum(pair[0], gradcam_weights(pair[1]))):
        finite = np.isfinite(found).all(axis=(1, 2))
        np.testing.assert_array_equal(finite, [True, False, True])


@pytest.mark.parametrize("shape", [(3, 40, 7, 4), (2, 40, 7, 5), (3, 41, 7, 5)])
def test_different_shapes_raise(shape):
    a, _ = _pair()
    other = np.zeros(shape, np.float32)
    for call in (
        lambda: gradient_maps(a, other, [GradientFormula.LAYERCAM]),
        lambda: smoothgradcam_pp_weights(a, (other,) * 3),
    ):
        with pytest.raises(ValueError, match="shapes differ"):
            call()


def test_weights_of_another_shape_raise():
    with pytest.raises(ValueError, match="do not fit"):
        weighted_sum(np.ones((2, 3, 4, 4)), np.ones((2, 4)))
