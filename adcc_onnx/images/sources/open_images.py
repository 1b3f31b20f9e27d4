"""Opening of image sources: by specification, by paths, or from images and arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import SourceError
from adcc_onnx.images.decoding.band_files import NPY_SUFFIX
from adcc_onnx.images.decoding.decode import HEIF_SUFFIXES, SUFFIXES
from adcc_onnx.images.sources.folders import file_source, folder_source, list_source
from adcc_onnx.images.sources.generated_images import drawings_source, is_drawings_spec
from adcc_onnx.images.sources.image_source import Record, Source, concatenate_sources
from adcc_onnx.images.sources.label_files import with_labels
from adcc_onnx.images.sources.memory_images import picture_source
from adcc_onnx.images.sources.parquet import parquet_source
from adcc_onnx.images.sources.shards import expand_shards
from adcc_onnx.images.sources.subsampling import subsample
from adcc_onnx.images.sources.tar_archives import tar_source
from adcc_onnx.images.sources.tensors import array_source, npz_source

__all__ = [
    "Record",
    "Source",
    "concatenate_sources",
    "open_arrays",
    "open_paths",
    "open_pictures",
    "open_source",
]

_LISTS = (".csv", ".tsv", ".txt", ".lst", ".jsonl", ".ndjson")
# Formats whose numbered files (shards) form one source.
_SHARDS: dict[str, Callable[[Path, str], Source]] = {".tar": tar_source, ".parquet": parquet_source}


def open_source(
    spec: str | Path,
    limit: int | None = None,
    seed: int | None = None,
    stratified: bool = False,
    labels: Path | None = None,
) -> Source:
    """Open the images that a specification names; docs/reference/sources.md describes every kind.

    Args:
        spec: A folder (flat, or one subfolder per class), an image file, a list or CSV of lines
            `path[,label]`, an `.npz` file of preprocessed tensors, a `.tar` or `.parquet` file,
            numbered files of these ("shard-{000000..000049}.tar"), or `drawings:COUNT@SEED` for
            synthetic drawings.
        limit: Largest number of images. Default: all.
        seed: Seed of a random sample of `limit` images. Default: take the first images.
        stratified: Whether to stratify the sample by label.
        labels: File of labels (see `with_labels`). Default: the labels of the source.

    Returns:
        The images.

    Raises:
        SourceError: The source does not exist, is empty or malformed, or has an unknown format.
        OptionError: The limit is below 1.

    Example:
        >>> source = open_source("drawings:100", limit=2)
        >>> [(record.name, record.load().shape) for record in source]
        [('2026-0', (112, 112, 3)), ('2026-1', (112, 112, 3))]
    """
    source = _open_spec(spec)
    if labels is not None:
        source = with_labels(source, labels)
    return subsample(source, limit, seed, stratified)


def open_paths(paths: Sequence[Path], limit: int | None = None) -> Source:
    """Open image files by their paths.

    Args:
        paths: Paths of image files.
        limit: Largest number of images. Default: all.

    Returns:
        The images in the order of the paths, named by them.

    Raises:
        SourceError: There is no path.
        OptionError: The limit is below 1.
    """
    if not paths:
        raise SourceError("the list of images is empty")
    return subsample(file_source(Path(), [str(path) for path in paths], [None] * len(paths)), limit)


def open_arrays(
    tensors: NDArray[Any],
    limit: int | None = None,
    labels: NDArray[Any] | None = None,
    masks: NDArray[Any] | None = None,
) -> Source:
    """Open preprocessed tensors in memory.

    Args:
        tensors: Floating-point tensors, [N, C, H, W].
        limit: Largest number of images. Default: all.
        labels: Labels, integers or text, [N]. Default: none.
        masks: Ground-truth masks, bool or integers, [N, H, W]. Default: none.

    Returns:
        The tensors, named "0", "1", ...

    Raises:
        SourceError: An array has a wrong rank, size or type.
        OptionError: The limit is below 1.

    Example:
        >>> source = open_arrays(np.zeros((2, 3, 8, 8), np.float32), labels=np.array([4, 0]))
        >>> list(source.names), list(source.labels), source.preprocessed
        (['0', '1'], [4, 0], True)
    """
    return subsample(array_source(tensors, labels, masks), limit)


def open_pictures(
    images: Sequence[Image.Image | NDArray[np.uint8]], limit: int | None = None
) -> Source:
    """Open images in memory that are not preprocessed yet.

    Args:
        images: Pillow images of any mode, or RGB arrays, uint8 [H, W, 3]. A Pillow image is
            converted exactly as a file is (rotated upright by its EXIF orientation, converted to
            RGB without its alpha channel).
        limit: Largest number of images. Default: all.

    Returns:
        The images, named "image_0", "image_1", ...

    Raises:
        SourceError: There is no image, or one is neither a Pillow image nor such an array.
        OptionError: The limit is below 1.

    Example:
        >>> source = open_pictures([Image.new("L", (6, 4)), np.zeros((5, 7, 3), np.uint8)])
        >>> [(record.name, record.load().shape) for record in source]
        [('image_0', (4, 6, 3)), ('image_1', (5, 7, 3))]
    """
    return subsample(picture_source(images), limit)


def _open_spec(spec: str | Path) -> Source:
    if is_drawings_spec(str(spec)):
        return drawings_source(str(spec))
    path = Path(spec)
    if not path.exists():
        shards = expand_shards(str(spec))
        if shards is None:
            raise SourceError(f"no such file or folder: {path}")
        return concatenate_sources([_opener_of(shard)(shard, f"{shard.stem}/") for shard in shards])
    if path.is_dir():
        return folder_source(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return npz_source(path)
    if suffix in _LISTS:
        return list_source(path)
    if suffix in (*SUFFIXES, *HEIF_SUFFIXES, NPY_SUFFIX):
        return file_source(path.parent, [path.name], [None])
    return _opener_of(path)(path, "")


def _opener_of(path: Path) -> Callable[[Path, str], Source]:
    try:
        return _SHARDS[path.suffix.lower()]
    except KeyError:
        kinds = ", ".join((*_LISTS, ".npz", *_SHARDS, *SUFFIXES, NPY_SUFFIX))
        raise SourceError(f"{path} is neither a folder nor one of {kinds}") from None
