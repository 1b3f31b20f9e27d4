"""An object's mask as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adcc_onnx.images.annotations.boxes import check_image_size
from adcc_onnx.images.decoding.decode import open_encoded
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.pixel_arrays import Mask


def read_mask_image(path: Path, size: tuple[int, int]) -> Mask:
    """The object in a PNG for a picture of (height, width): every pixel that is not 0.

    Of a palette the index counts, of colors any one, and no transparency. (Pascal VOC's
    segmentations draw a contour of index 255: it counts as the object's.)

    Raises:
        ImageError: no readable PNG, or of another size.
    """
    with open_encoded(read_bytes(path, path.name), path.name, ("PNG",)) as image:
        image.load()
        colors = len(image.getbands()) - ("A" in image.getbands())
        values = np.asarray(image)
    check_image_size(path.name, values.shape[:2], size)
    flat = values.reshape(*size, -1)[:, :, :colors]
    return np.asarray(flat.any(axis=2))
