"""Pictures of what the model was given: input tensors converted back to pixels, and thumbnails."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.kernels.arrays import Float32Array

THUMBNAIL_SIDE = 128  # pixels of the longer side
MAP_SIDE = 28  # values of the longer side of a stored map
_JPEG_QUALITY = 75


def picture_of_tensor(tensor: Float32Array, steps: Preprocessing | None) -> NDArray[np.uint8]:
    """Convert an input tensor to a picture.

    Args:
        tensor: The input tensor, [C, H, W].
        steps: The preprocessing that made it. None stretches its values from black to white.

    Returns:
        RGB pixels, uint8 [H, W, 3]; gray if the tensor is not in color.

    Example:
        >>> tensor = np.linspace(0, 1, 4, dtype=np.float32).reshape(1, 2, 2)
        >>> picture_of_tensor(tensor, None)[:, :, 0].tolist()
        [[0, 85], [170, 255]]
    """
    if steps is not None:
        return steps.to_pixels(tensor)
    planes = tensor if len(tensor) == 3 else tensor.mean(axis=0, keepdims=True)
    low, high = float(planes.min()), float(planes.max())
    scaled = (planes - low) * (255 / (high - low) if high > low else 0.0)
    pixels = np.moveaxis(np.round(scaled).astype(np.uint8), 0, 2)
    return np.repeat(pixels, 3 // pixels.shape[2], axis=2)


def thumbnail(tensor: Float32Array, steps: Preprocessing | None) -> bytes:
    """Draw an input tensor as a small JPEG of about 4 KB.

    Args:
        tensor: The input tensor, [C, H, W]; NaN is drawn as 0.
        steps: The preprocessing that made it; see `picture_of_tensor`.

    Returns:
        The bytes of the JPEG file; its longer side has at most 128 pixels.
    """
    # Reduced first: three planes of the full size take most of the time.
    reduced = np.stack([_reduced(plane, THUMBNAIL_SIDE) for plane in tensor])
    small = picture_of_tensor(np.nan_to_num(reduced), steps)
    options = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), options)
    assert encoded
    return data.tobytes()


def small_map(heat: Float32Array) -> NDArray[np.float16]:
    """Reduce a map to what a report stores of it.

    Args:
        heat: The map in [0, 1], [h, w].

    Returns:
        The map as float16; maps of pixel methods and controls are reduced to a longer side of at
        most 28 by averaging.

    Example:
        >>> small_map(np.ones((224, 112), np.float32)).shape
        (28, 14)
    """
    return _reduced(heat, MAP_SIDE).astype(np.float16)


def _reduced(plane: Float32Array, side: int) -> Float32Array:
    """Average a plane [H, W] to a smaller one if its longer side is larger than `side`."""
    factor = side / max(plane.shape)
    if factor >= 1.0:
        return plane
    height, width = (max(1, round(factor * length)) for length in plane.shape)
    reduced: Float32Array = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    return reduced
