"""Labels from separate files: ImageNet's ground truth is mapped or rejected, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.tar_files import png, tar
from scipy import io

from adcc_onnx.errors import SourceError
from adcc_onnx.images.sources.open_images import open_source

SYNSETS = [f"n{10_000_000 + 7919 * i % 9_000_000:08d}" for i in range(1000)]


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    """The archive of the validation images, which are not in the order of their numbers."""
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in (3, 1, 2, 4)]
    return tar(tmp_path / "ILSVRC2012_img_val.tar", [(name, png(0)) for name in names])


def write(path: Path, lines: list[object]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_meta(path: Path, count: int = 1000) -> None:
    """As the development kit's: the low-level synsets first, then those above them."""
    rows = np.zeros(count, [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for i in range(count):
        rows[i] = (float(i + 1), SYNSETS[i] if i < 1000 else "n00000000", "a, b")
    io.savemat(path, {"synsets": rows.reshape(-1, 1)})


def test_ilsvrc_identifiers_through_the_development_kit(validation: Path, tmp_path: Path) -> None:
    write_meta(tmp_path / "meta.mat", 1860)
    truth = write(tmp_path / "ILSVRC2012_validation_ground_truth.txt", [490, 361, 171, 1000])
    source = open_source(validation, labels=truth)
    assert {r.name[-7:-5]: r.label for r in source} == {
        "01": SYNSETS[489],
        "02": SYNSETS[360],
        "03": SYNSETS[170],
        "04": SYNSETS[999],
    }
    assert list(open_source(validation, 2, labels=truth).labels) == [SYNSETS[170], SYNSETS[489]]


def test_identifiers_without_the_development_kit_are_rejected(
    validation: Path, tmp_path: Path
) -> None:
    truth = write(tmp_path / "ground_truth.txt", [490, 361, 171, 1000])
    with pytest.raises(SourceError, match=r"not class indices: put the file meta\.mat"):
        open_source(validation, labels=truth)
    (tmp_path / "meta.mat").write_bytes(b"MATLAB 5.0 nothing")
    with pytest.raises(SourceError, match=r"meta\.mat cannot be read"):
        open_source(validation, labels=truth)
    write_meta(tmp_path / "meta.mat", 999)
    with pytest.raises(SourceError, match="does not name the 1000 synsets"):
        open_source(validation, labels=truth)


def test_class_indices_and_synsets_line_by_line(validation: Path, tmp_path: Path) -> None:
    classes = write(tmp_path / "val.txt", [65, 0, 999, 5])
    assert list(open_source(validation, labels=classes).labels) == [999, 65, 0, 5]
    synsets = write(tmp_path / "synsets.txt", SYNSETS[:4])
    wanted = [SYNSETS[2], SYNSETS[0], SYNSETS[1], SYNSETS[3]]
    assert list(open_source(validation, labels=synsets).labels) == wanted


def test_a_list_may_name_the_folders_above_the_images(tmp_path: Path) -> None:
    for name in ("cat.png", "dog.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(png(0))
    rows = ["path,label", "photos/cat.png,281", "data/photos/dog.png,207"]
    labels = write(tmp_path / "labels.csv", rows)
    assert list(open_source(tmp_path / "photos", labels=labels).labels) == [281, 207]
    # File names that the list holds twice say nothing about an image.
    write(labels, [*rows, "other/dog.png,5"])
    assert list(open_source(tmp_path / "photos", labels=labels).labels) == [281, None]


def test_a_csv_by_names_with_and_without_folders(tmp_path: Path) -> None:
    members = [("val/a.png", png(0)), ("val/b.png", png(0)), ("val/c.png", png(0))]
    path = tar(tmp_path / "x.tar", members)
    table = write(tmp_path / "l.csv", ["path,label", "a.png,0", "val/b.png,dog"])
    assert list(open_source(path, labels=table).labels) == [0, "dog", None]
    again = tar(tmp_path / "y.tar", [*members, ("train/a.png", png(0))])
    assert list(open_source(again, labels=table).labels) == [None, "dog", None, None]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([1, 2, 3, 4], "class indices from 0 or ILSVRC2012 identifiers from 1"),
        ([0, 1000, 3, 4], "class indices from 0 or ILSVRC2012 identifiers from 1"),
        ([0, 1, 2], "only 3 lines, so none for ILSVRC2012_val_00000004"),
        ([0, 1, 2, 1001], "one synset or class index per line"),
        (["cat", "dog", "cat", "dog"], "one synset or class index per line"),
        (["a.png,1"], "labels no image of the source"),
        (["a.png,1", "b.png"], "line 2: expected path,label"),
        (["a.png,1", "a.png,2"], "line 2: a.png has another label above"),
        ([], "holds no labels"),
    ],
)
def test_ambiguous_labels_are_rejected(
    validation: Path, tmp_path: Path, lines: list[object], words: str
) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        open_source(validation, labels=write(tmp_path / "l.txt", lines))
    assert "l.txt" in str(caught.value) and "\n" not in str(caught.value)


def test_labels_by_line_need_numbered_names(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", [("a.png", png(0)), ("b.png", png(0))])
    with pytest.raises(SourceError, match=r"the name a\.png contains no line number"):
        open_source(path, labels=write(tmp_path / "l.txt", [0, 1]))
