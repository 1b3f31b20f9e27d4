"""Images as a Python caller gives them: paths, PIL images, and arrays, as one source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import SourceError
from adcc_onnx.images.sources.image_source import Record, Source, joined
from adcc_onnx.images.sources.open_images import open_arrays, open_paths, open_source

Pixels = NDArray[np.uint8]
OneImage = str | Path | Image.Image | NDArray[Any]
Images = OneImage | Sequence[OneImage] | Source

_ACCEPTED = (
    "a path, a PIL image, a uint8 array [H, W, 3], a list of these, or a floating-point array "
    "[N, C, H, W] of preprocessed images"
)


def as_source(images: Images) -> Source:
    """Open images of any accepted kind.

    Args:
        images: A folder, list, archive or image by its path; a PIL image; a uint8 array [H, W, 3]
            or [N, H, W, 3]; a list of any of these; or a floating-point array [N, C, H, W] of
            preprocessed images.

    Returns:
        The images as a source. Images in memory are named by their position: "0", "1", ...

    Raises:
        TypeError: `images` is of another type.
        ValueError: An array has another shape.
        SourceError: A path does not exist, or there are no images.
    """
    if isinstance(images, Source):
        return images
    if isinstance(images, str | Path):
        return open_source(images)
    if isinstance(images, Image.Image):
        return _in_memory([_pixels_of(images)])
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
        return Path(images).name
    return f"{len(as_source(images))} images"


def _of_array(array: NDArray[Any]) -> Source:
    if array.dtype == np.uint8 and array.ndim in (3, 4) and array.shape[-1] == 3:
        pictures = array[None] if array.ndim == 3 else array
        return _in_memory(list(pictures))
    if array.dtype.kind == "f" and array.ndim == 4:
        return open_arrays(array)
    raise ValueError(f"images must be {_ACCEPTED}, not {array.dtype} {list(array.shape)}")


def _of_sequence(images: Sequence[OneImage]) -> Source:
    if not images:
        raise SourceError("no image was given")
    if all(isinstance(image, str | Path) and Path(image).suffix for image in images):
        paths = [Path(image) for image in images if isinstance(image, str | Path)]
        if not any(path.is_dir() for path in paths):
            return open_paths(paths)
    if not any(isinstance(image, str | Path) for image in images):
        return _in_memory([_pixels_of(image) for image in images])
    return joined([as_source(image) for image in images])


def _pixels_of(image: OneImage) -> Pixels:
    """Return the pixels [H, W, 3] of an image in memory."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if not isinstance(image, np.ndarray):
        raise TypeError(f"each image must be {_ACCEPTED}, not {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            "each image in a list must be a path, a PIL image or a uint8 array [H, W, 3], not "
            f"{image.dtype} {list(image.shape)}"
        )
    return image


def _in_memory(pictures: Sequence[Pixels]) -> Source:
    if not all(picture.size for picture in pictures) or not pictures:
        raise ValueError("images must not be empty arrays")
    names = [str(i) for i in range(len(pictures))]

    def read(positions: Iterable[int]) -> Iterator[Record]:
        return (Record(names[i], None, partial(_same, pictures[i])) for i in positions)

    return Source(names, [None] * len(pictures), read)


def _same(picture: Pixels) -> Pixels:
    return picture
