"""Folders, lists, single images, preprocessed tensors and images in memory, in a fixed order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcc_onnx.errors import ImageError, OptionError, SourceError
from adcc_onnx.images.class_names import find_class
from adcc_onnx.images.sources.open_images import open_arrays, open_pictures, open_source


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 5), (shade, shade, shade)).save(path)


def found(spec: Path, limit: int | None = None) -> list[tuple[str, int | str | None]]:
    return [(record.name, record.label) for record in open_source(spec, limit)]


def test_a_flat_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", ".hidden.png", "notes.txt"):
        picture(tmp_path / name) if "txt" not in name else (tmp_path / name).write_text("x")
    assert found(tmp_path) == [("a.JPG", None), ("b.png", None)]
    assert found(tmp_path, 1) == [("a.JPG", None)]


def test_one_folder_per_class(tmp_path: Path) -> None:
    for name in ("dog/2.png", "cat/1.png", "cat/0.png", "empty/notes.md"):
        picture(tmp_path / name) if name.endswith("png") else (tmp_path / "empty").mkdir()
    assert found(tmp_path) == [("cat/0.png", "cat"), ("cat/1.png", "cat"), ("dog/2.png", "dog")]


@pytest.mark.parametrize("header", ["", "path,label\n", "\ufefffile,class\n"])
def test_a_csv_with_and_without_header_and_labels(tmp_path: Path, header: str) -> None:
    picture(tmp_path / "in" / "a b.png", 7)
    text = f'{header}"in/a b.png",3\nin/gone.png,dog\n\nin/a b.png\n'
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert found(tmp_path / "list.csv") == [
        ("in/a b.png", 3),
        ("in/gone.png", "dog"),
        ("in/a b.png#2", None),
    ]
    loaded = next(iter(open_source(tmp_path / "list.csv"))).load()
    np.testing.assert_array_equal(loaded, np.full((5, 4, 3), 7))


def test_one_image(tmp_path: Path) -> None:
    picture(tmp_path / "one.png")
    assert found(tmp_path / "one.png") == [("one.png", None)]


def test_preprocessed_tensors(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    np.savez(tmp_path / "x.npz", x=x, label=np.array([[4], [5], [6]]))
    source = open_source(tmp_path / "x.npz")
    assert source.preprocessed
    assert [record.label for record in source] == [4, 5, 6]
    loaded = [record.load() for record in source]
    assert all(tensor.dtype == np.float32 for tensor in loaded)
    np.testing.assert_array_equal(np.stack(loaded), x.astype(np.float32))


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SourceError, match="allow_pickle"):
        open_source(tmp_path / "x.npz")


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("path,label\n")
    (tmp_path / "hole.csv").write_text("a.png,1\n,2\n")
    (tmp_path / "raw.npz").write_bytes(b"PK\3\4 nothing")
    (tmp_path / "words.pdf").write_bytes(b"%PDF")
    np.savez(tmp_path / "y.npz", y=np.zeros(3))
    np.savez(tmp_path / "flat.npz", x=np.zeros((3, 4)))
    np.savez(tmp_path / "few.npz", x=np.zeros((3, 1, 2, 2)), label=np.zeros(2, int))
    wanted = {
        "gone": "no such file or folder",
        "empty.csv": "names no image",
        "hole.csv": "line 2: the path is missing",
        "raw.npz": "cannot be read as .npz",
        "words.pdf": "words.pdf",
        "y.npz": r"no array 'x'",
        "flat.npz": r"\[N, C, H, W\], not float64 \[3 x 4\]",
        "few.npz": "3 tensors but 2 labels",
    }
    for name, words in wanted.items():
        with pytest.raises(SourceError, match=words):
            open_source(tmp_path / name)


def test_integer_arrays_are_no_tensors() -> None:
    with pytest.raises(SourceError, match="floating-point"):
        open_arrays(np.zeros((2, 3, 4, 4), np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "CMYK", "1", "I;16"])
def test_pillow_images_are_converted_as_files_are(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, (6, 9)).astype(np.uint16))
    elif mode != "RGB":
        image = image.convert(mode)
    path = tmp_path / ("0.tif" if mode in ("CMYK", "LA") else "0.png")
    image.save(path)
    (record,) = open_pictures([image])
    (stored,) = open_source(path)
    assert record.load().dtype == np.uint8 and record.load_downscaled is None
    np.testing.assert_array_equal(record.load(), stored.load())


def test_pillow_images_are_turned_upright_and_stay_unchanged(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        (record,) = open_pictures([image])
        for _ in range(2):
            np.testing.assert_array_equal(record.load(), np.rot90(pixels, -1))
        assert image.size == (9, 6)


def test_arrays_of_pixels_are_taken_as_they_are() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    source = open_pictures([pixels[0], pixels[1][:, ::-1], Image.fromarray(pixels[2])])
    assert list(source.names) == ["image_0", "image_1", "image_2"] and not source.preprocessed
    assert list(source.labels) == [None] * 3
    (last,) = source.at([1])
    np.testing.assert_array_equal(last.load(), pixels[1][:, ::-1])
    assert len(open_pictures(pixels)) == 4 and len(open_pictures(list(pixels), limit=3)) == 3


def test_other_objects_are_no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    good = np.zeros((4, 4, 3), np.uint8)
    wrong = {
        "uint8 .* not float32 .4 x 4 x 3.": np.zeros((4, 4, 3), np.float32),
        "uint8 .* not uint8 .4.": np.zeros(4, np.uint8),
        "uint8 .* not uint8 .3 x 4 x 224.": np.zeros((3, 4, 224), np.uint8),
        "uint8 .* not uint8 .0 x 4 x 3.": np.zeros((0, 4, 3), np.uint8),
        "Pillow image .* not str": "photo.jpg",
    }
    for words, image in wrong.items():
        with pytest.raises(SourceError, match=f"image_1 must be .*{words}"):
            open_pictures([good, image])
    with pytest.raises(SourceError, match="empty"):
        open_pictures([])
    with pytest.raises(OptionError, match="at least 1"):
        open_pictures([good], limit=0)
    (deep,) = open_pictures([Image.new("F", (2, 2))])
    with pytest.raises(ImageError, match="image_0: 32-bit"):
        deep.load()


def test_labels_by_number_synset_and_name() -> None:
    names = ["n01440764 tench, Tinca tinca", "n01443537 goldfish", "great white shark"]
    assert find_class(2, names, 3) == 2
    assert find_class("n01443537", names, 3) == 1
    assert find_class("Great_White_Shark", names, 3) == 2
    assert find_class("goldfish", names, 3) == 1
    assert find_class("7", None, 10) == 7
    assert [find_class(label, names, 3) for label in (3, -1, "cat")] == [None, None, None]
    assert find_class("cat", None, 3) is None
