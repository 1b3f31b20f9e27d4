"""Masks stored as PNG images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adcc_onnx.images.annotations.boxes import check_image_size
from adcc_onnx.images.decoding.decode import open_encoded
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.pixel_arrays import Mask


def read_mask_image(path: Path, size: tuple[int, int]) -> Mask:
    """Read the mask of an object from a PNG: every pixel that is not 0.

    Of a palette image the index is compared with 0, of a color image any channel; transparency is
    ignored. (Pascal VOC's segmentations have a contour of index 255, which belongs to the mask.)

    Args:
        path: The PNG file.
        size: (height, width) of the annotated image in pixels.

    Returns:
        The mask, bool [H, W].

    Raises:
        ImageError: The file is not a readable PNG, or has another size than the image.
    """
    with open_encoded(read_bytes(path, path.name), path.name, ("PNG",)) as image:
        image.load()
        colors = len(image.getbands()) - ("A" in image.getbands())
        values = np.asarray(image)
    check_image_size(path.name, values.shape[:2], size)
    flat = values.reshape(*size, -1)[:, :, :colors]
    return np.asarray(flat.any(axis=2))
