"""Bilinear resizing against scipy and torch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from adcc_onnx.kernels.upsample import upsample

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
    """Half-pixel centres, bilinear, clamped: map_coordinates of order 1 with mode nearest."""
    maps = np.random.default_rng(0).random((3, *source), dtype=np.float32)
    centres = [(np.arange(t) + 0.5) * s / t - 0.5 for s, t in zip(source, target, strict=True)]
    grid = np.meshgrid(*centres, indexing="ij")
    expected = [
        ndimage.map_coordinates(m.astype(np.float64), grid, order=1, mode="nearest") for m in maps
    ]
    np.testing.assert_allclose(upsample(maps, target), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_against_torch(source, target):
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(1).random((2, *source), dtype=np.float32)
    # In float32 torch rounds its coordinates: by some eps of their size, on each axis.
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
def test_no_size_is_an_error(size):
    with pytest.raises(ValueError, match="cannot resize"):
        upsample(np.ones((1, 2, 2)), size)
