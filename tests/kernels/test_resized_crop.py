"""Resized crops equal those of images that Pillow has resized as a whole, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from adcc_onnx.kernels.resized_crop import MAX_SIDE, resized_crop, resizes_rows_first

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def pillow(pixels: np.ndarray, resized: tuple[int, int], interpolation: str) -> np.ndarray:
    bands = [Image.fromarray(pixels[:, :, band]) for band in range(pixels.shape[2])]
    found = [np.asarray(one.resize(resized[::-1], FILTERS[interpolation])) for one in bands]
    return np.stack(found, axis=2)


def geometry(rng: np.random.Generator) -> tuple[list[int], list[int], list[int], list[int]]:
    """Draw the sizes of an image and of the resized image, and the corner and size of a crop."""
    source, resized = rng.integers(1, 300, 2).tolist(), rng.integers(1, 250, 2).tolist()
    size = [int(rng.integers(1, side + 1)) for side in resized]
    corner = [int(rng.integers(0, a - b + 1)) for a, b in zip(resized, size, strict=True)]
    return source, resized, corner, size


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("channels", [1, 3, 4, 5, 11])
@pytest.mark.parametrize("values", [range(256), (0, 255)], ids=["all", "extremes"])
def test_random_crops_equal_pillows(interpolation: str, channels: int, values: Any) -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(80):
        source, resized, corner, size = geometry(rng)
        if not resizes_rows_first(source, resized):
            continue
        pixels = rng.choice(np.array(values, np.uint8), (*source, channels))
        found = resized_crop(pixels, resized, corner, size, interpolation)
        (top, left), (height, width) = corner, size
        whole = pillow(pixels, resized, interpolation)
        np.testing.assert_array_equal(found, whole[top : top + height, left : left + width])
        compared += 1
    assert compared > 40


def test_pillow_resizes_the_columns_of_tall_images_first() -> None:
    """Otherwise these images would not have to be left to Pillow."""
    pixels = np.random.default_rng(1).integers(0, 256, (300, 60, 3), dtype=np.uint8)
    source, resized = (300, 60), (160, 32)
    assert not resizes_rows_first(source, resized)
    turned = pixels.transpose(1, 0, 2)
    found = resized_crop(turned, resized[::-1], (0, 0), resized[::-1], "bicubic")
    np.testing.assert_array_equal(found.transpose(1, 0, 2), pillow(pixels, resized, "bicubic"))


def test_any_memory_layout_is_read() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    mirrored = pixels[:, ::-1]
    locked = mirrored.copy()
    locked.flags.writeable = False
    wanted = pillow(mirrored, (20, 25), "bilinear")
    for image in (mirrored, locked):
        found = resized_crop(image, (20, 25), (0, 0), (20, 25), "bilinear")
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("source", "corner", "size"),
    [
        ((8, 8, 3), (1, 0), (4, 4)),
        ((8, 8, 3), (-1, 0), (4, 4)),
        ((8, 8, 3), (0, 0), (0, 4)),
        ((0, 8, 3), (0, 0), (4, 4)),
        ((8, 8, 0), (0, 0), (4, 4)),
        ((1, MAX_SIDE + 1, 1), (0, 0), (4, 4)),
    ],
)
def test_what_cannot_be_cropped_raises(
    source: tuple[int, ...], corner: tuple[int, int], size: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match=r"cannot resize|no crop"):
        resized_crop(np.zeros(source, np.uint8), (4, 4), corner, size, "bilinear")
