"""A folder of decoded and cropped images, so that later runs decode nothing."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from adcc_onnx.atomic_files import write_atomically
from adcc_onnx.errors import AdccWarning, OptionError, SourceError, first_line
from adcc_onnx.images.pixel_arrays import RGBImage
from adcc_onnx.images.sources.image_source import Record, Source, map_records

_MAGIC = b"adcccrop"
# A CRC-32 finds damage as well as a digest does, and takes a quarter of its time.
_CHECKSUM_BYTES = 4


class CropCache:
    """The crops of images in a folder, one file per image.

    A file's name is a digest of the encoded image, of the geometry of its preprocessing and of
    Pillow's version, so that a changed image or setting never gets an old crop. A file holds the
    pixels and their checksum; a damaged file is ignored. Several processes may share a folder.

    Args:
        folder: The folder; it is created.

    Raises:
        SourceError: The folder cannot be created or written.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder, self._full = Path(folder), False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise SourceError(
                f"cannot keep crops in {folder}: {first_line(error)}; name a folder that can be "
                "written"
            ) from error

    def get(
        self,
        data: bytes,
        geometry: Mapping[str, Any],
        size: tuple[int, int],
        make: Callable[[], RGBImage],
    ) -> RGBImage:
        """Return the crop of an image, and keep it if it is new.

        Args:
            data: The content of the image file.
            geometry: The settings that the crop depends on, JSON-compatible.
            size: Height and width of the crop in pixels.
            make: Function that makes the crop.

        Returns:
            The crop, uint8 [H, W, 3], the same bytes as `make` returns.

        Raises:
            ImageError: `make` raises it; nothing is kept then.
        """
        path = self._path(data, geometry)
        found = _read(path, (*size, 3))
        if found is None:
            found = make()
            self._keep(path, found)
        return found

    def _path(self, data: bytes, geometry: Mapping[str, Any]) -> Path:
        settings = json.dumps([dict(geometry), PIL.__version__], sort_keys=True).encode()
        digest = hashlib.blake2b(data, digest_size=20, key=hashlib.sha256(settings).digest())
        name = digest.hexdigest()
        return self._folder / name[:2] / f"{name}.crop"

    def _keep(self, path: Path, crop: RGBImage) -> None:
        if self._full:
            return
        pixels = np.ascontiguousarray(crop).tobytes()
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, _MAGIC + _checksum(pixels) + pixels)
        except OSError as error:  # the run itself does not depend on the cache
            self._full = True
            warnings.warn(
                f"no more crops are kept in {self._folder}: {first_line(error)}",
                AdccWarning,
                stacklevel=2,
            )


def with_crop_cache(source: Source, folder: str | Path) -> Source:
    """Keep the crops of a source's images in a folder, and read them there from then on.

    Args:
        source: The images. Images without a file, such as drawings and arrays, are not kept.
        folder: The folder; it is created.

    Returns:
        A source of the same images.

    Raises:
        OptionError: The source holds preprocessed tensors.
        SourceError: The folder cannot be created or written.

    Example:
        >>> import tempfile
        >>> from adcc_onnx.images.sources.open_images import open_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     len(with_crop_cache(open_source("drawings:2"), folder))
        2
    """
    if source.preprocessed:
        raise OptionError(
            "the images are preprocessed tensors, which are neither decoded nor cropped: leave out "
            "the cache of crops (--cache-crops)"
        )
    cache = CropCache(folder)

    def cached(record: Record) -> Record:
        return record if record.encoded is None else replace(record, crops=cache.get)

    return map_records(source, cached)


def _read(path: Path, shape: tuple[int, int, int]) -> RGBImage | None:
    """Read a crop; None if there is none, or it is damaged."""
    start = len(_MAGIC) + _CHECKSUM_BYTES
    length = start + math.prod(shape)
    try:
        data = np.fromfile(path, np.uint8, length + 1)
    except OSError:
        return None
    pixels = data[start:]
    if len(data) != length or data[:start].tobytes() != _MAGIC + _checksum(pixels.data):
        return None
    return pixels.reshape(shape)


def _checksum(pixels: bytes | memoryview) -> bytes:
    return zlib.crc32(pixels).to_bytes(_CHECKSUM_BYTES, "big")
