"""HEIC and AVIF images, which the optional package pillow-heif decodes."""

from __future__ import annotations

from adcc_onnx.errors import ImageError

HEIF_FORMATS = ("HEIF", "AVIF")
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")


def is_heif(data: bytes) -> bool:
    """Return whether a file is a HEIC or AVIF image, by its first bytes.

    Args:
        data: Content of the file.
    """
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS


def register_heif(name: str) -> None:
    """Make Pillow open HEIC images, and AVIF images if Pillow cannot by itself.

    Args:
        name: Name of the image, for error messages.

    Raises:
        ImageError: The package is not installed.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ImageError(
            f'{name}: HEIC and AVIF images need pillow-heif: pip install "adcc-onnx[heif]"'
        ) from error
    register_heif_opener()
