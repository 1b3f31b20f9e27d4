"""About 600 damaged images: each is rejected cleanly or decoded correctly; none ends a run.

They are decoded in a separate process with limits on memory and time, so that a crash, a hang or
an exception other than `ImageError` is detected.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from adcc_onnx.errors import ImageError
from adcc_onnx.images.decoding import file_bytes
from adcc_onnx.images.decoding.decode import decode_image, read_image
from adcc_onnx.images.sources.open_images import open_source

RNG = np.random.default_rng(5)
PIXELS = cv2.GaussianBlur(RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8), (0, 0), 3)
# In the child: at most 4 GiB of addresses and two minutes of work.
CHILD = """
import hashlib, json, resource, sys
from pathlib import Path
from adcc_onnx.errors import ImageError
from adcc_onnx.images.decoding.decode import read_image

resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        picture = read_image(path)
        found[path.name] = [*picture.shape, str(picture.dtype), hashlib.md5(picture).hexdigest()]
    except ImageError as error:
        found[path.name] = str(error)
# What getrusage tells would be that of the parent, where it was greater.
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
print(json.dumps({"found": found, "peak": peak}))
"""


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(stream, kind, **options)
    return stream.getvalue()


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(np.roll(PIXELS, i, 0)) for i in range(3)]
    return encoded(kind, frames[0], save_all=True, append_images=frames[1:])


VALID = {
    "baseline.jpg": encoded("JPEG", quality=90),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "cmyk.jpg": encoded("JPEG", Image.fromarray(PIXELS).convert("CMYK")),
    "color.png": encoded("PNG"),
    "palette.png": encoded("PNG", Image.fromarray(PIXELS).quantize(32)),
    "deep.png": encoded("PNG", Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257)),
    "animated.png": animated("PNG"),
    "lossy.webp": encoded("WEBP"),
    "lossless.webp": encoded("WEBP", lossless=True),
    "animated.webp": animated("WEBP"),
    "color.bmp": encoded("BMP"),
    "palette.gif": encoded("GIF"),
    "animated.gif": animated("GIF"),
    "plain.tif": encoded("TIFF"),
    "lzw.tif": encoded("TIFF", compression="tiff_lzw"),
    "jpeg.tif": encoded("TIFF", compression="jpeg"),
    "deflate.tif": encoded("TIFF", compression="tiff_adobe_deflate"),
    "color.ppm": encoded("PPM"),
}
# A damage to these that leaves a picture at all leaves the right one: all that counts is summed.
CHECKED = ("color.png", "palette.png", "deep.png", "animated.png")


def damages(data: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Kinds of damage, each at random places."""
    for i in range(12):
        yield f"cut{i}", data[: rng.integers(1, len(data))]
    for i in range(12):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
        yield f"flip{i}", bytes(flipped)
    for i in range(4):
        noisy, at = bytearray(data), int(rng.integers(len(data)))
        noisy[at : at + 16] = rng.bytes(len(noisy[at : at + 16]))
        yield f"noise{i}", bytes(noisy)
    for i in range(3):
        a, b = sorted(rng.integers(0, len(data), 2))
        yield f"lost{i}", data[:a] + data[b:]
        yield f"twice{i}", data[:b] + data[a:]
    for i in range(3):
        head = bytearray(data)
        head[rng.integers(4, 64)] = 255
        yield f"head{i}", bytes(head)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bombs(width: int, height: int) -> dict[str, bytes]:
    """Headers that promise more than there is."""
    jpeg = bytearray(encoded("JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height, width)
    canvas = bytearray(animated("WEBP"))
    at = canvas.index(b"VP8X") + 12
    canvas[at : at + 6] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, width * height % 2**32)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    frame = struct.pack("<HHHHB", 0, 0, width, height, 0)
    return {
        "jpg": bytes(jpeg),
        "png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b""),
        "webp": bytes(canvas),
        "gif": b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\x80\0\0"
        + bytes(6)
        + b","
        + frame
        + b"\x02\x02L\x01\0;",
        "bmp": b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + info + bytes(100),
        "tif": b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(100),
        "ppm": b"P6 %d %d 255\n" % (width, height) + bytes(100),
    }


def verdicts(folder: Path) -> tuple[dict[str, Any], int]:
    """What each file of a folder gave, and the child's peak of memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    return report["found"], report["peak"] // 1024


def test_every_damage_is_rejected_or_harmless(tmp_path: Path) -> None:
    rng, right = np.random.default_rng(6), {}
    for name, data in VALID.items():
        right[name] = decode_image(data, name)
        for damage, broken in damages(data, rng):
            (tmp_path / f"{damage}-{name}").write_bytes(broken)
    for kind, data in bombs(30_000, 30_000).items():
        (tmp_path / f"wide-bomb.{kind}").write_bytes(data)
    for kind, data in bombs(13_000, 13_000).items():
        if kind != "webp":  # a canvas larger than its frames is no lie
            (tmp_path / f"near-bomb.{kind}").write_bytes(data)
    found, peak = verdicts(tmp_path)
    assert len(found) > 600 and peak < 1024
    refused = {name: verdict for name, verdict in found.items() if isinstance(verdict, str)}
    for name, reason in refused.items():
        assert reason.startswith(f"{name}: ") and "\n" not in reason
    assert all("bomb" not in name for name in found.keys() - refused.keys())
    for name in found.keys() - refused.keys():
        damage, kind = name.split("-")
        height, width, channels, dtype, digest = found[name]
        assert channels == 3 and dtype == "uint8" and height * width <= 180_000_000
        if damage.startswith("cut") or kind in CHECKED:
            assert [height, width] == list(right[kind].shape[:2])
            assert digest == hashlib.md5(right[kind]).hexdigest(), name
    assert len(refused) > 300


def test_a_bomb_is_refused_by_its_header() -> None:
    for kind, data in bombs(30_000, 30_000).items():
        with pytest.raises(ImageError, match=r"more than 180,000,000 pixels"):
            decode_image(data, kind)


@pytest.mark.parametrize("name", ["baseline.jpg", "progressive.jpg", "cmyk.jpg"])
def test_a_jpeg_truncated_anywhere_is_rejected(name: str) -> None:
    """Also where only the mark of its end is lost, or half of it."""
    for kept in [*range(1, len(VALID[name]), 7), *range(len(VALID[name]) - 20, len(VALID[name]))]:
        with pytest.raises(ImageError):
            decode_image(VALID[name][:kept], name)


def test_photos_without_their_end_are_rejected(data: Path) -> None:
    for path in sorted((data / "photos").iterdir())[:20]:
        photo = path.read_bytes()
        for lost in (1, 2, 3, 10, 100, 1000):
            with pytest.raises(ImageError, match="truncated"):
                decode_image(photo[:-lost], "photo.jpg")


def test_damage_outside_the_image_data_is_harmless() -> None:
    """Bytes behind the end, comments, foreign metadata: the picture is the untouched one."""
    photo, drawing = VALID["baseline.jpg"], VALID["color.png"]
    comment = b"\xff\xfe" + struct.pack(">H", 102) + RNG.bytes(100)
    private = b"\xff\xe9" + struct.pack(">H", 52) + b"\xff\xd9\xff\xda" + RNG.bytes(46)
    wanted = decode_image(photo, "x")
    for harmless in (
        photo + RNG.bytes(500),
        photo + photo,
        photo[:2] + comment + photo[2:],
        photo[:2] + private + photo[2:],
        photo[:2] + b"\xff\xff\xff" + photo[2:],
    ):
        np.testing.assert_array_equal(decode_image(harmless, "x"), wanted)
    for harmless in (
        drawing + RNG.bytes(500),
        drawing[:33] + chunk(b"prIv", RNG.bytes(50)) + drawing[33:],
    ):
        np.testing.assert_array_equal(decode_image(harmless, "x"), PIXELS)


@pytest.mark.parametrize("lost", ["IDAT", "IHDR", "IEND"])
def test_a_png_with_a_wrong_checksum_is_rejected(lost: str) -> None:
    """Pillow does not look at the sums of the pixels' chunks."""
    broken = bytearray(VALID["color.png"])
    at = broken.index(lost.encode())
    length = int.from_bytes(broken[at - 4 : at], "big")
    broken[at + 4 + length] ^= 1
    with pytest.raises(ImageError):
        decode_image(bytes(broken), "x.png")


def test_a_jpeg_with_too_many_scans_is_rejected() -> None:
    """A small file that would be walked through for hours."""
    data = VALID["progressive.jpg"]
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    with pytest.raises(ImageError, match="scans"):
        decode_image(data[:last] + scan * 5000 + data[-2:], "x.jpg")
    behind, comment = data + scan * 5000, b"\xff\xfe\xff\xff" + b"\xff\xda" * 32766 + b"\0"
    for harmless in (behind, data[:2] + comment + data[2:]):
        np.testing.assert_array_equal(decode_image(harmless, "x"), decode_image(data, "x"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_eight_exif_orientations(kind: str) -> None:
    """The group of the square: what is stored turned comes out as numpy turns it."""
    stored = decode_image(encoded(kind), "x")
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored),
    }
    for orientation, wanted in upright.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        np.testing.assert_array_equal(decode_image(encoded(kind, exif=exif), "x"), wanted)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode_image(encoded("PNG", exif=exif), "x"), PIXELS)


@pytest.mark.parametrize(
    ("deep", "kind"),
    [
        (np.uint16, "PNG"),
        (np.uint16, "TIFF"),
        (np.uint16, "PPM"),
        (np.float32, "TIFF"),
        (np.int32, "TIFF"),
    ],
)
def test_pixels_of_more_than_8_bits_are_scaled_or_rejected(deep: Any, kind: str) -> None:
    values = np.arange(65536).reshape(256, 256)
    data = encoded(kind, Image.fromarray(values.astype(deep)))
    if deep is np.uint16:
        wanted = np.round(values / 257)[:, :, None].repeat(3, 2)
        np.testing.assert_array_equal(decode_image(data, "x"), wanted)
    else:
        with pytest.raises(ImageError, match="32-bit"):
            decode_image(data, "x")


def test_other_than_regular_files_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("path,label\n" * 100)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "big.png").write_bytes(VALID["color.png"])
    names = ["folder", "empty", "text", "pipe", "loop", "gone", "nul\0"]
    words = [
        "not a regular file",
        "empty",
        "not an image",
        "not a regular file",
        "",
        "No such file",
        "",
    ]
    for name, said in zip(names, words, strict=True):
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / f"{name}.png")
        shown = name.replace("\0", "\\x00")
        assert said in str(caught.value) and str(caught.value).startswith(f"{shown}.png: ")
    monkeypatch.setattr(file_bytes.read_bytes, "__defaults__", (0, None, 100))
    with pytest.raises(ImageError, match="bytes are more than 100"):
        read_image(tmp_path / "big.png")


def test_a_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    """A file with a hole, which takes no space on the disk."""
    with (tmp_path / "vast.png").open("wb") as stream:
        stream.truncate(256 * 2**20 + 1)
    with pytest.raises(
        ImageError, match=r"^vast\.png: 268,435,457 bytes are more than 268,435,456"
    ):
        read_image(tmp_path / "vast.png")


def test_an_unreadable_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(VALID["color.png"])
    (tmp_path / "mine.png").chmod(0)
    root = os.geteuid() == 0
    if root:  # to root every file is readable
        os.seteuid(65534)
    try:
        with pytest.raises(ImageError, match=r"^mine\.png: cannot be read \(Permission denied\)"):
            read_image(tmp_path / "mine.png")
    finally:
        if root:
            os.seteuid(0)


def test_a_source_continues_after_an_invalid_image(tmp_path: Path) -> None:
    for name, data in VALID.items():
        (tmp_path / name).write_bytes(data)
    source = open_source(tmp_path)
    (tmp_path / "cmyk.jpg").unlink()
    (tmp_path / "color.png").write_bytes(b"")
    failed = []
    for record in source:
        try:
            assert record.load().shape == PIXELS.shape
        except ImageError:
            failed.append(record.name)
    assert failed == ["cmyk.jpg", "color.png"]
