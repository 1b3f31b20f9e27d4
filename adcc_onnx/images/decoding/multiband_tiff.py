"""TIFF files with 5 or more bands per pixel, which the optional package tifffile decodes."""

from __future__ import annotations

import io
import math

from adcc_onnx.errors import ImageError, first_line
from adcc_onnx.images.decoding.decode import MAX_PIXELS
from adcc_onnx.images.pixel_arrays import BandImage

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# One byte of a compressed strip or tile becomes at most about 1,000 bytes.
_LARGEST_COMPRESSED_PART = 2**20


def is_tiff(data: bytes) -> bool:
    """Return whether a file is a TIFF, by its first bytes.

    Args:
        data: Content of the file.
    """
    return data.startswith(_MAGIC)


def read_multiband_tiff(data: bytes, name: str) -> BandImage:
    """Decode the first page of a TIFF; its header is checked before anything is allocated.

    Args:
        data: Content of the file.
        name: Name of the image, for error messages.

    Returns:
        The values, [H, W, C] or [C, H, W] of the file's type.

    Raises:
        ImageError: The package is not installed, or the file is damaged or too large.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(
            f"{name}: TIFF files with 5 or more bands per pixel need tifffile: "
            'pip install "adcc-onnx[tiff]"'
        ) from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            if max(math.prod(page.shape), math.prod(page.chunks)) > MAX_PIXELS:
                raise ImageError(f"{name}: more than {MAX_PIXELS:,} values")
            largest = max(page.databytecounts, default=0)
            if page.compression != 1 and largest > _LARGEST_COMPRESSED_PART:
                raise ImageError(
                    f"{name}: a compressed strip of the TIFF has more than "
                    f"{_LARGEST_COMPRESSED_PART:,} bytes: save it without compression"
                )
            values: BandImage = page.asarray(maxworkers=1)
    except ImageError:
        raise
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise ImageError(f"{name}: truncated or damaged ({first_line(error)})") from error
    if values.dtype.kind not in "uif":
        raise ImageError(f"{name}: the TIFF holds {values.dtype}, not numbers")
    return values
