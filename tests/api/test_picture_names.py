"""Names of the files of explanations: safe, bounded, unique, and found again by `--maps`."""

from __future__ import annotations

from pathlib import Path

import pytest

from adcc_onnx.api.picture_names import FileNames, class_title
from adcc_onnx.explanation.ready_maps import map_path

NASTY = [
    "../../etc/passwd.png", "/abs/a.png", "..", ".", "/", "", "a\x00b.png", "\x1b[31m.png",
    "con:*?.png", "a\\b.png", "x" * 300 + ".png", "熊" * 200 + ".png", " .hidden. ", "é/é.png",
    "a\nb.png", "a?b.png", "a*b.png", "A?b.png", "\udcff.png",
]  # fmt: skip


def test_every_name_is_one_file_below_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "out"
    names = FileNames(root, NASTY, ["rise(n=8)", "a/../../b", "m" * 300], "label")
    files = []
    for position, name in enumerate(NASTY):
        for method in ("rise(n=8)", "a/../../b", "m" * 300):
            for crop in (False, True):
                files.append(names.overlay(position, "1 " + name, method, crop))
            files.append(names.map(name, method))
        files.append(names.grid(position, "1 " + name, ["rise(n=8)", "m" * 300]))
    assert len({str(path).casefold() for path in files}) == len(files)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        assert path.resolve().is_relative_to(root) and path.name.isprintable()
        assert len(path.name.encode()) <= 255
        assert path.parent == root or path.suffix == ".npy"


def test_images_of_one_stem_get_their_whole_names() -> None:
    names = FileNames(Path(), ["a.png", "a.jpg", "b/a.png", "b_a.png", "c.png"], ["m"], "label")
    found = [names.overlay(i, "0", "m").name for i in range(5)]
    assert found == [
        "a.png.0.m.png", "a.jpg.0.m.png", "b_a.png.0.m.png", "b_a.png~2.0.m.png", "c.0.m.png"
    ]  # fmt: skip


def test_images_given_by_their_whole_paths_are_named_by_the_file() -> None:
    images = ["/x/a.png", "/x/b.png", "/y/b.png"]
    names = FileNames(Path("out"), images, ["m"], "label")
    assert [names.overlay(i, "0", "m").name for i in range(3)] == [
        "a.0.m.png", "x_b.0.m.png", "y_b.0.m.png"
    ]  # fmt: skip
    assert [names.map(image, "m").as_posix() for image in images] == [
        "out/m.label/a.png.npy", "out/m.label/x/b.png.npy", "out/m.label/y/b.png.npy"
    ]  # fmt: skip


def test_methods_that_differ_only_in_signs_get_different_names() -> None:
    names = FileNames(Path(), ["a"], ["m(x=1)", "m[x=1]", "M(X=1)"], "label")
    assert names.map("a", "m(x=1)") == Path("m_x_1.label/a.npy")
    assert names.map("a", "m[x=1]") == Path("m_x_1~2.label/a.npy")
    assert names.map("a", "M(X=1)") == Path("M_X_1~3.label/a.npy")


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (None, "7"), ((), "7"), (("n01440764 tench",) * 8, "7 tench"),
        (("tabby, tabby cat",) * 8, "7 tabby"), (("",) * 8, "7"),
        (("n01440764",) * 8, "7 n01440764"),
    ],
)  # fmt: skip
def test_titles_of_classes(names: tuple[str, ...] | None, title: str) -> None:
    assert class_title(7, names) == title


def test_ordinary_names_of_images_stay() -> None:
    for name in ("dog (1).jpg", "cat/1.png", "2026-0", "Bär.png"):
        assert map_path(Path("m"), name) == Path("m", f"{name}.npy")
