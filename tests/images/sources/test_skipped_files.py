"""Files of a folder that are not read are counted and named; HEIC and AVIF need a package."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tar_files import png, tar
from PIL import Image

from adcc_onnx.errors import AdccWarning, ImageError, SourceError
from adcc_onnx.images.decoding.decode import decode_image
from adcc_onnx.images.sources.open_images import open_source

HEADER = b"\0\0\0\x18ftypheic\0\0\0\0"


def test_unknown_endings_and_broken_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "b.xyz").write_bytes(b"?")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    with pytest.warns(AdccWarning) as caught:
        assert list(open_source(tmp_path).names) == ["a.png"]
    assert [str(one.message) for one in caught] == [
        f"{tmp_path}: skipped 1 file (no known ending of an image): b.xyz",
        f"{tmp_path}: skipped 1 file (a link without a target): gone.png",
    ]


def test_heic_without_the_package_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.heic").write_bytes(HEADER)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (record,) = open_source(tmp_path)
    with pytest.raises(ImageError, match=r'a\.heic: .* pip install "adcc-onnx\[heif\]"'):
        record.load()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_heic_and_avif_are_decoded_and_truncation_fails(kind: str) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    shades = np.indices((64, 48)).sum(0).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(shades).convert("RGB").save(stream, kind)
    found = decode_image(stream.getvalue(), "x")
    assert found.shape == (64, 48, 3)
    assert np.abs(found.astype(int) - shades[:, :, None]).max() <= 4
    with pytest.raises(ImageError, match="truncated or damaged"):
        decode_image(stream.getvalue()[:-3], "x")


def test_images_in_deeper_folders_are_counted_and_named(tmp_path: Path) -> None:
    for name in ("cat", "cat/more", "dog", "empty"):
        (tmp_path / name).mkdir()
    for name in ("cat/a.png", "cat/more/b.png", "dog/c.png"):
        (tmp_path / name).write_bytes(png(0))
    (tmp_path / "dog" / "Thumbs.db").write_bytes(b"?")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"?")
    with pytest.warns(AdccWarning) as caught:
        assert list(open_source(tmp_path).names) == ["cat/a.png", "dog/c.png"]
    assert [str(one.message) for one in caught] == [
        f"{tmp_path}: skipped 2 files (no known ending of an image): cat/Thumbs.db, dog/Thumbs.db",
        f"{tmp_path}: skipped 1 subfolder (images are read beside it or above it): cat/more",
    ]
    (tmp_path / "d.png").write_bytes(png(0))
    with pytest.warns(AdccWarning, match="skipped 2 subfolders .*: cat, dog$"):
        assert list(open_source(tmp_path).names) == ["d.png"]


def test_a_folder_whose_images_lie_too_deep_names_theirs(tmp_path: Path) -> None:
    (tmp_path / "data" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "train" / "cat" / "a.png").write_bytes(png(0))
    with pytest.raises(SourceError, match=r"deeper folders are not read: give .*cat or its parent"):
        open_source(tmp_path)


def test_heic_in_a_tar_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar(tmp_path / "x.tar", [("a.png", png(0)), ("b.HEIC", HEADER), ("c.avif", HEADER)])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    records = list(open_source(tmp_path / "x.tar"))
    assert [record.name for record in records] == ["a.png", "b.HEIC", "c.avif"]
    for record in records[1:]:
        with pytest.raises(ImageError, match=r'pip install "adcc-onnx\[heif\]"'):
            record.load()
