"""Images of every format are decoded completely or rejected."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from adcc_onnx.errors import ImageError
from adcc_onnx.images.decoding.decode import decode_image, read_image

RNG = np.random.default_rng(0)
PIXELS = cv2.GaussianBlur(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8), (0, 0), 5)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


PHOTO = encoded(Image.fromarray(PIXELS), "JPEG", quality=95)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_give_the_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(PIXELS), kind, **options)
    np.testing.assert_array_equal(decode_image(data, "x"), PIXELS)


def test_jpeg_is_decoded_as_opencv_does(data: Path) -> None:
    for path in sorted((data / "photos").iterdir())[:10]:
        wanted = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(read_image(path), wanted)


def test_other_colors_become_rgb() -> None:
    gray = PIXELS[:, :, 0]
    gray_rgb = np.repeat(gray[:, :, None], 3, axis=2)
    deep = encoded(Image.fromarray(gray.astype(np.uint16) * 257), "PNG")
    np.testing.assert_array_equal(decode_image(deep, "x"), gray_rgb)
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(gray), "PNG"), "x"), gray_rgb
    )
    alpha = np.dstack([PIXELS, np.full(gray.shape, 128, np.uint8)])
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(alpha), "PNG"), "x"), PIXELS)
    palette = Image.fromarray(PIXELS).quantize(64)
    np.testing.assert_array_equal(
        decode_image(encoded(palette, "PNG"), "x"), np.asarray(palette.convert("RGB"))
    )
    cmyk = Image.fromarray(PIXELS).convert("CMYK")
    found = decode_image(encoded(cmyk, "JPEG", quality=100, subsampling=0), "x")
    assert np.abs(found.astype(int) - PIXELS).mean() < 3


def test_images_are_rotated_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    data = encoded(Image.fromarray(PIXELS), "PNG", exif=exif)
    np.testing.assert_array_equal(decode_image(data, "x"), np.rot90(PIXELS, -1))


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(decode_image(data, "x").astype(int) - 10).max() <= 2


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_truncated_image_is_rejected(kind: str, kept: float) -> None:
    data = PHOTO if kind == "JPEG" else encoded(Image.fromarray(PIXELS), kind)
    with pytest.raises(ImageError, match=r"^cut\.x: ") as caught:
        decode_image(data[: int(len(data) * kept)], "cut.x")
    assert "\n" not in str(caught.value)


def test_half_a_photo_is_rejected(data: Path) -> None:
    photo = sorted((data / "photos").iterdir())[0].read_bytes()
    with pytest.raises(ImageError, match="truncated"):
        decode_image(photo[: len(photo) // 2], "half.jpg")


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises more than there is."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_an_oversized_image_is_rejected_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="pixels"):
        decode_image(huge_png(*size), "huge.png")


def test_files_of_unknown_formats_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="empty"):
        decode_image(b"", "none.jpg")
    with pytest.raises(ImageError, match="not an image of a known format"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n" * 10, "program.eps")
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read"):
        read_image(tmp_path / "gone.jpg")
