"""Tests of bilinear resizing against SciPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from adcc_onnx.kernels.upsample import explanation_maps, upsample, upsampled_similarity

SIZES = [
    ((7, 7), (224, 224)),
    ((7, 9), (100, 131)),
    ((14, 14), (224, 256)),
    ((1, 1), (5, 6)),
    ((1, 4), (3, 9)),
    ((3, 5), (4, 6)),
    ((224, 224), (7, 7)),
    ((50, 31), (13, 30)),
    ((6, 40), (12, 10)),
    ((8, 8), (8, 8)),
]


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_against_scipy(source, target):
    """Half-pixel centers and edge clamping are map_coordinates of order 1 with mode nearest."""
    maps = np.random.default_rng(0).random((3, *source), dtype=np.float32)
    centers = [(np.arange(t) + 0.5) * s / t - 0.5 for s, t in zip(source, target, strict=True)]
    grid = np.meshgrid(*centers, indexing="ij")
    expected = [
        ndimage.map_coordinates(m.astype(np.float64), grid, order=1, mode="nearest") for m in maps
    ]
    np.testing.assert_allclose(upsample(maps, target), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_against_torch(source, target):
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(1).random((2, *source), dtype=np.float32)
    # In float32, torch rounds its coordinates: by a few eps of their size per axis.
    rounded = 4 * max(source) * np.finfo(np.float32).eps / 2
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, rounded)):
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(maps)[:, None].to(dtype),
            size=target,
            mode="bilinear",
            align_corners=False,
        )
        found = upsample(maps, target)
        np.testing.assert_allclose(found, expected[:, 0].numpy(), rtol=0, atol=tolerance)


def test_the_same_size_is_the_identity():
    maps = np.random.default_rng(2).standard_normal((2, 13, 7)).astype(np.float32)
    np.testing.assert_array_equal(upsample(maps, (13, 7)), maps)


def test_values_stay_in_range():
    maps = np.random.default_rng(3).integers(0, 2, (20, 7, 7)).astype(np.float32)
    resized = upsample(maps, (224, 224))
    assert resized.min() >= 0 and resized.max() <= 1


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_a_size_below_one_raises(size):
    with pytest.raises(ValueError, match="cannot resize"):
        upsample(np.ones((1, 2, 2)), size)


def _large(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Upsample with SciPy in float64."""
    sides = zip(maps.shape[1:], size, strict=True)
    grid = np.meshgrid(*[(np.arange(t) + 0.5) * s / t - 0.5 for s, t in sides], indexing="ij")
    float64 = maps.astype(np.float64)
    return np.stack([ndimage.map_coordinates(m, grid, order=1, mode="nearest") for m in float64])


@pytest.mark.parametrize("fill", [(0.0,), (1.5, -2.0, 0.0)])
@pytest.mark.parametrize("small", [(7, 5), (32, 24)])
def test_explanation_maps(fill, small):
    rng = np.random.default_rng(4)
    images = rng.standard_normal((3, 3, 32, 24)).astype(np.float32)
    maps = rng.random((3, *small), dtype=np.float32)
    mask = _large(maps, (32, 24))[:, None]
    expected = images * mask + np.reshape(fill, (1, -1, 1, 1)) * (1 - mask)
    np.testing.assert_allclose(explanation_maps(images, maps, fill), expected, atol=1e-6)


def test_an_invalid_pixel_affects_no_other_of_the_explanation_maps():
    images, maps = np.ones((2, 3, 8, 8), np.float32), np.zeros((2, 2, 2), np.float32)
    images[1, 2, 3, 4] = np.nan
    found = explanation_maps(images, maps)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("sizes", [((7, 7), (7, 7)), ((14, 14), (7, 9)), ((30, 40), (5, 4))])
def test_upsampled_similarity_against_scipy(sizes):
    rng, size = np.random.default_rng(5), (30, 40)
    first, second = (rng.random((4, *small), dtype=np.float32) for small in sizes)
    correlations, means = upsampled_similarity(first, second, size)
    large = _large(first, size), _large(second, size)
    pairs = zip(*large, strict=True)
    expected = [stats.pearsonr(a.ravel(), b.ravel()).statistic for a, b in pairs]
    np.testing.assert_allclose(correlations, expected, atol=1e-7)
    np.testing.assert_allclose(means, np.abs(large[0]).mean(axis=(1, 2)), rtol=1e-6)


def test_upsampled_similarity_of_equal_and_of_constant_maps():
    maps = np.random.default_rng(6).random((3, 7, 7), dtype=np.float32)
    flat = np.full((3, 9, 9), 0.1, np.float32)
    np.testing.assert_array_equal(upsampled_similarity(maps, maps, (224, 224))[0], np.ones(3))
    for pair in ((maps, flat), (flat, maps), (flat, flat)):
        np.testing.assert_array_equal(upsampled_similarity(*pair, (224, 224))[0], -np.ones(3))


def test_different_numbers_of_images_raise():
    with pytest.raises(ValueError, match="cannot be compared"):
        upsampled_similarity(np.ones((2, 3, 3)), np.ones((3, 3, 3)), (6, 6))
    with pytest.raises(ValueError, match="do not fit"):
        explanation_maps(np.ones((2, 3, 8, 8)), np.ones((3, 4, 4)))
