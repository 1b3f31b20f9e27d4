"""Pictures of input tensors, and the thumbnails and small maps that runs keep."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.tensor_pictures import picture_of_tensor, small_map, thumbnail


def test_a_tensor_without_preprocessing_is_drawn_from_its_minimum_to_its_maximum() -> None:
    color = np.array([-1.0, 0.0, 1.0], np.float32).reshape(3, 1, 1)
    assert picture_of_tensor(color, None).tolist() == [[[0, 128, 255]]]
    gray = np.array([[[2.0, 4.0]]], np.float32)
    assert picture_of_tensor(gray, None).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert not picture_of_tensor(np.full((2, 2, 2), 7, np.float32), None).any()


def test_a_thumbnail_is_the_crop_reduced() -> None:
    steps = Preprocessing.preset("torch", (256, 192))
    rows, columns = np.mgrid[:256, :192]
    crop = np.stack([rows / 2, columns / 2, np.full((256, 192), 200)], axis=2).astype(np.uint8)
    found = Image.open(io.BytesIO(thumbnail(steps.normalize(crop), steps)))
    assert found.format == "JPEG" and found.size == (96, 128)
    wanted = np.asarray(Image.fromarray(crop).resize((96, 128), Image.Resampling.BOX), np.float64)
    assert np.abs(np.asarray(found, np.float64) - wanted).mean() < 2.0  # of 255: JPEG's own loss
    assert thumbnail(np.full((3, 8, 8), np.nan, np.float32), steps)


def test_a_small_map_is_kept_and_a_large_one_averaged() -> None:
    small = np.random.default_rng(0).random((7, 7), np.float32)
    np.testing.assert_array_equal(small_map(small), small.astype(np.float16))
    large = np.random.default_rng(1).random((112, 56), np.float32)
    means = large.reshape(28, 4, 14, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(small_map(large), means, atol=5e-4)
