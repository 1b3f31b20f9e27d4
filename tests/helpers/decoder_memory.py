"""A program that measures the memory that decoding takes, in a process of its own per image.

Arguments: the number of pixels, and names of `FILES`. It prints JSON: for each name, the peak
beyond the encoded file in bytes.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from adcc_onnx.images.decoding.decode import decode_image


def _scene(side: int) -> NDArray[np.uint8]:
    """A smooth image with some noise, uint8 [side, side, 3]: neither trivial nor incompressible."""
    small = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.array(image)
    pixels[::7, ::5] ^= 3
    return pixels


def _saved(
    kind: str, mode: str = "RGB", orientation: int = 1, **options: Any
) -> Callable[..., bytes]:
    def save(side: int) -> bytes:
        stream, image = io.BytesIO(), Image.fromarray(_scene(side)).convert(mode)
        if orientation != 1:
            options["exif"] = Image.Exif()
            options["exif"][ExifTags.Base.Orientation] = orientation
        image.save(stream, kind, **options)
        return stream.getvalue()

    return save


def _deep(kind: str, **options: Any) -> Callable[..., bytes]:
    def save(side: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(_scene(side)[:, :, 0].astype(np.uint16) * 257).save(stream, kind, **options)
        return stream.getvalue()

    return save


def _deep_ppm(side: int) -> bytes:
    return (
        b"P5 %d %d 65535\n" % (side, side) + (_scene(side)[:, :, 0].astype(">u2") * 257).tobytes()
    )


# The files that are measured, by the row of the table in docs/reference/sources.md.
ROWS: dict[str, dict[str, Callable[[int], bytes]]] = {
    "JPEG, PNG, BMP, GIF, PPM": {
        "JPEG": _saved("JPEG"),
        "JPEG, 4:4:4": _saved("JPEG", subsampling=0),
        "JPEG, rotated": _saved("JPEG", orientation=6),
        "JPEG, CMYK": _saved("JPEG", "CMYK"),
        "PNG": _saved("PNG", compress_level=1),
        "PNG, RGBA": _saved("PNG", "RGBA", compress_level=1),
        "PNG, palette": _saved("PNG", "P", compress_level=1),
        "PNG, 16 bits": _deep("PNG", compress_level=1),
        "BMP": _saved("BMP"),
        "GIF": _saved("GIF"),
        "PPM": _saved("PPM"),
        "PGM, 16 bits": _deep_ppm,
    },
    "TIFF": {
        "TIFF": _saved("TIFF"),
        "TIFF, LZW": _saved("TIFF", compression="tiff_lzw"),
        "TIFF, LZW in one strip": _saved("TIFF", compression="tiff_lzw", strip_size=2**30),
        "TIFF, rotated": _saved("TIFF", compression="tiff_lzw", orientation=6),
        "TIFF, 16 bits": _deep("TIFF"),
    },
    "progressive JPEG": {
        "JPEG, progressive": _saved("JPEG", progressive=True),
        "JPEG, progressive 4:4:4": _saved("JPEG", progressive=True, subsampling=0),
        "JPEG, progressive CMYK": _saved("JPEG", "CMYK", progressive=True),
    },
    "HEIC, AVIF": {
        "HEIC": _saved("HEIF"),
        "AVIF": _saved("AVIF", speed=10),
    },
    "WebP": {
        "WebP": _saved("WEBP", method=0),
        "WebP, RGBA": _saved("WEBP", "RGBA", method=0),
        "WebP, lossless": _saved("WEBP", lossless=True, method=0, quality=0),
    },
}
FILES = {name: make for files in ROWS.values() for name, make in files.items()}


def decoding_memory(name: str, pixels: int) -> int:
    """Return the memory that decoding a file takes beyond the file, in bytes.

    Args:
        name: The kind of file, a key of `FILES`.
        pixels: Number of pixels.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, side = Path(folder) / "image", int(pixels**0.5)
        _in_child(lambda: path.write_bytes(FILES[name](side)))

        def decode() -> int:
            data = path.read_bytes()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert decode_image(data, name).shape == (side, side, 3)
            return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024

        return _in_child(decode)


def _in_child(work: Callable[[], int]) -> int:
    """Return a number that a function finds in a forked process."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.write(send, str(work()).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return int(found)


def main() -> None:
    """Measure the files that are named."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    pixels, *names = sys.argv[1:]
    print(json.dumps({name: decoding_memory(name, int(pixels)) for name in names}))


if __name__ == "__main__":
    main()
