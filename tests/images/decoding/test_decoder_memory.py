"""Decoding takes no more memory than docs/reference/sources.md states for each format."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.markdown_tables import parse_table
from PIL import Image

from adcc_onnx.errors import ImageError
from adcc_onnx.images.decoding import completeness, decode

if not hasattr(os, "fork") or sys.platform != "linux":
    pytest.skip("forks, and measures as Linux does", allow_module_level=True)

from helpers.decoder_memory import ROWS

ROOT = Path(__file__).parents[3]
CONSTANT = 8 * 2**20  # bytes that depend on no image: tables, buffers and a strip of some rows
MILLION = 10**6
QUICK = ("JPEG", "JPEG, rotated", "PNG, RGBA", "PNG, 16 bits", "TIFF, LZW", "JPEG, progressive")


def stated() -> dict[str, tuple[float, int]]:
    """Bytes per pixel and the largest number of pixels, by the rows of the table in the docs."""
    text = (ROOT / "docs" / "reference" / "sources.md").read_text()
    head, *rows = parse_table(text.partition("\n## Memory\n")[2])
    assert head[:3] == ["format", "bytes per pixel", "most pixels"]
    return {row[0]: (float(row[1]), int(row[2].split()[0]) * MILLION) for row in rows}


def measured(pixels: int, names: list[str]) -> dict[str, int]:
    words = [sys.executable, str(ROOT / "tests" / "helpers" / "decoder_memory.py"), str(pixels)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([*words, *names], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_the_table_has_all_formats_and_their_limits() -> None:
    table = stated()
    assert set(table) == set(ROWS)
    largest = {row: pixels for row, (_, pixels) in table.items()}
    assert largest["JPEG, PNG, BMP, GIF, PPM"] == largest["TIFF"] == decode.MAX_PIXELS
    assert largest["progressive JPEG"] == completeness._MAX_PROGRESSIVE_PIXELS
    limits = decode._MAX_PIXELS_OF
    assert largest["WebP"] == limits["WEBP"]
    assert largest["HEIC, AVIF"] == limits["HEIF"] == limits["AVIF"]


def test_memory_per_pixel() -> None:
    pixels, table = 4 * MILLION, stated()
    rows = {name: row for row, files in ROWS.items() for name in files}
    for name, used in measured(pixels, list(QUICK)).items():
        assert used < table[rows[name]][0] * pixels + CONSTANT, name


@pytest.mark.slow
@pytest.mark.parametrize(("row", "name"), [(row, name) for row in ROWS for name in ROWS[row]])
def test_memory_per_pixel_near_the_limit(row: str, name: str) -> None:
    if row == "HEIC, AVIF" and not find_spec("pillow_heif"):
        pytest.skip("pillow-heif is not installed")
    bound, largest = stated()[row]
    pixels = int(0.99 * largest)
    # A palette is chosen slowly, and HEIC is encoded slowly.
    pixels = min(pixels, 30 * MILLION) if name in ("GIF", "HEIC") else pixels
    used = measured(pixels, [name])[name]
    print(f"| {name} | {pixels / MILLION:.0f} | {used / pixels:.1f} | {used / 2**20:,.0f} |")
    assert used < bound * pixels + CONSTANT


def test_lower_limits_name_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_MAX_PIXELS_OF", {"WEBP": 99})
    monkeypatch.setattr(completeness, "_MAX_PROGRESSIVE_PIXELS", 99)

    def saved(kind: str, **options: bool) -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", (10, 10)).save(stream, kind, **options)
        return stream.getvalue()

    with pytest.raises(ImageError, match="10 x 10 are more than 99 pixels, the limit of WEBP"):
        decode.decode_image(saved("WEBP"), "x")
    with pytest.raises(ImageError, match="100 pixels are more than 99, the limit of progressive"):
        decode.decode_image(saved("JPEG", progressive=True), "x")
    assert decode.decode_image(saved("JPEG"), "x").shape == (10, 10, 3)
