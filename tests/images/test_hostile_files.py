"""Hostile images and archives within 2 GiB of addresses; cards and maps have tests of their own."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("resource", reason="limits of POSIX")

# In the child: 2 GiB of addresses more than Python and its libraries take, and 100 s of work.
CHILD = """
import json, resource, sys
from pathlib import Path
from adcc_onnx.errors import AdccError
from adcc_onnx.images.sources.open_images import open_source
import adcc_onnx.images.decoding.decode

used = int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2**30,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        found[path.name] = [str(list(r.load().shape)) for r in open_source(path)]
    except AdccError as error:
        found[path.name] = str(error)
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
print(json.dumps({"found": found, "peak": peak // 1024}))
"""


def outcomes(folder: Path) -> tuple[dict[str, Any], int]:
    """What each file gave, and the peak of memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    return report["found"], report["peak"]


def npy_header(shape: str, descr: str = "<f4", fortran: bool = False) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def npz(path: Path, **members: tuple[bytes, int]) -> None:
    """Write members that begin with some bytes and go on with zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, (head, zeros) in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                stream.write(head)
                for _ in range(zeros // 2**20):
                    stream.write(bytes(2**20))


def write_archives(folder: Path, big: bool) -> int:
    x = (npy_header("(1, 1, 512, 512)"), 2**20)
    kinds = {
        "shape": {"x": (npy_header("(9999999999, 3, 224, 224)"), 2**20)},
        "row": {"x": (npy_header("(1, 1, 32768, 32768)"), 2**20)},
        "negative": {"x": (npy_header("(-1, 3, 8, 8)"), 2**20)},
        "objects": {"x": (npy_header("(1, 1, 512, 512)", "|O"), 2**20)},
        "labels": {"x": x, "label": (npy_header("(99999999999,)", "<i8"), 0)},
        "label_bomb": {"x": x, "label": (npy_header("(1,)", f"<U{2**28}"), 2**30)},
        "nested": {"x": (npy_header("(" * 5000 + ")" * 5000), 0)},
        "mask": {"x": x, "mask": (npy_header("(1, 99999, 99999)", "|b1"), 0)},
        "fortran": {"x": (npy_header("(520, 1, 512, 512)", fortran=True), 520 * 2**20)},
    }
    if not big:
        del kinds["label_bomb"]
    for name, members in kinds.items():
        npz(folder / f"{name}.npz", **members)
    return len(kinds)


@pytest.mark.parametrize("big", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_archives_whose_headers_lie_or_demand_much(tmp_path: Path, big: bool) -> None:
    count = write_archives(tmp_path, big)
    found, peak = outcomes(tmp_path)
    assert len(found) == count and peak < 700
    for name, said in found.items():
        assert isinstance(said, str) and name in said and "\n" not in said and len(said) < 500


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_images(folder: Path) -> None:
    """Write small files of many pixels or frames, and headers of comments."""
    frames = [Image.new("P", (600, 600), i % 2) for i in range(30)]
    for kind in ("gif", "png", "tif", "webp"):
        options = {"compression": "tiff_lzw"} if kind == "tif" else {}
        first, others = frames[0].convert("RGB"), [f.convert("RGB") for f in frames[1:6]]
        first.save(folder / f"frames.{kind}", save_all=True, append_images=others, **options)
    for comment in ("#" + "x" * 2**24 + "\n", "#\n" * 2**20):
        name = f"comments_{comment.count('#')}.ppm"
        (folder / name).write_bytes(b"P6\n" + comment.encode() + b"1 1\n255\n" + bytes(3))
    (folder / "endless.ppm").write_bytes(b"P5\n#" + b"x" * 2**24)
    stream = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(stream, "WEBP", lossless=True, method=0)
    (folder / "flat.webp").write_bytes(stream.getvalue())
    rows = zlib.compress(bytes(13_000 * 1626), 1)  # one bit per pixel
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 1, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    (folder / "flat.png").write_bytes(data)


def test_small_images_of_many_pixels_frames_or_comments(tmp_path: Path) -> None:
    write_images(tmp_path)
    found, peak = outcomes(tmp_path)
    assert peak < 700
    for kind in ("gif", "png", "tif", "webp"):
        assert found.pop(f"frames.{kind}") == ["[600, 600, 3]"]
    for name, said in found.items():
        assert isinstance(said, str) and said.startswith(f"{name}: ") and "\n" not in said
        assert "decompression bomb" in said or "longer than 16,384 bytes" in said


def test_an_honest_array_is_read(tmp_path: Path) -> None:
    """The lies above are not refused for another reason."""
    (tmp_path / "in").mkdir()
    npz(
        tmp_path / "in" / "honest.npz",
        x=(npy_header("(1, 1, 512, 512)"), 2**20),
        label=(npy_header("(131072,)", "<i8"), 0),
    )
    x = np.zeros((1, 1, 8, 8), np.float32)
    np.savez(tmp_path / "in" / "plain.npz", x=x, label=np.array([3]))
    found, _ = outcomes(tmp_path / "in")
    assert found["plain.npz"] == ["[1, 8, 8]"] and isinstance(found["honest.npz"], str)
