"""Images as a Python caller gives them: paths, PIL images, and arrays, as one source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import SourceError, restore_name
from adcc_onnx.images.sources.image_source import Source, concatenate_sources
from adcc_onnx.images.sources.memory_images import is_pixel_array
from adcc_onnx.images.sources.open_images import open_arrays, open_paths, open_pictures, open_source

OneImage = str | Path | Image.Image | NDArray[Any]
Images = OneImage | Sequence[OneImage] | Source

_IN_MEMORY = (Image.Image, np.ndarray)
_ACCEPTED = (
    "a path, a PIL image, a uint8 array [H, W, 3], [H, W] or [H, W, bands], a list of these, or a "
    "floating-point array [N, C, H, W] of preprocessed images"
)


def as_source(images: Images) -> Source:
    """Open images of any accepted kind.

    Args:
        images: A folder, list, archive or image by its path; a PIL image; a uint8 array [H, W, 3],
            [H, W], [H, W, bands] or [N, H, W, bands]; a list of any of these; or a floating-point
            array [N, C, H, W] of preprocessed images.

    Returns:
        The images as a source.

    Raises:
        TypeError: `images` is of another type.
        ValueError: An array has another shape.
        SourceError: A path does not exist, or there are no images.

    Example:
        >>> as_source(np.zeros((4, 5, 3), np.uint8)).names
        ['image_0']
    """
    if isinstance(images, Source):
        return images
    if isinstance(images, str | Path):
        return open_source(images)
    if isinstance(images, Image.Image):
        return open_pictures([images])
    if isinstance(images, np.ndarray):
        return _of_array(images)
    if isinstance(images, Sequence):
        return _of_sequence(images)
    raise TypeError(f"images must be {_ACCEPTED}, not {type(images).__name__}")


def describe_source(images: Images) -> str:
    """Describe images for the record of a run.

    Args:
        images: The images as `as_source` accepts them.

    Returns:
        The name of the file or folder without its path, or the number of images.
    """
    if isinstance(images, str | Path):
        return restore_name(Path(images).name)
    return f"{len(as_source(images))} images"


def _of_array(array: NDArray[Any]) -> Source:
    if is_pixel_array(array):
        return open_pictures([array])
    if array.ndim == 4 and len(array) and is_pixel_array(array[0]):
        return open_pictures(list(array))
    if array.dtype.kind == "f" and array.ndim == 4:
        return open_arrays(array)
    raise ValueError(f"images must be {_ACCEPTED}, not {array.dtype} {list(array.shape)}")


def _of_sequence(images: Sequence[OneImage]) -> Source:
    if not images:
        raise SourceError("no image was given")
    for image in images:
        _check_item(image)
    paths = [Path(image) for image in images if isinstance(image, str | Path)]
    if not paths:
        return open_pictures([image for image in images if isinstance(image, _IN_MEMORY)])
    if len(paths) == len(images) and all(path.suffix and not path.is_dir() for path in paths):
        return open_paths(paths)
    return concatenate_sources([as_source(image) for image in images])


def _check_item(image: Any) -> None:
    """Check one item of a list.

    Raises:
        TypeError: The item is of another type.
        ValueError: The item is an array of another shape or type.
    """
    if not isinstance(image, str | Path | Image.Image | np.ndarray):
        raise TypeError(f"images must be {_ACCEPTED}, not a list of {type(image).__name__}")
    if isinstance(image, np.ndarray) and not is_pixel_array(image):
        raise ValueError(
            "each image in a list must be a path, a PIL image or a uint8 array [H, W, 3], [H, W] "
            f"or [H, W, bands], not {image.dtype} {list(image.shape)}"
        )
