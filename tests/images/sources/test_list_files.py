"""Lists in every common dialect: they are read with the right labels, or refused with a remedy."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from helpers.tar_files import png

from adcc_onnx.errors import AdccWarning, SourceError
from adcc_onnx.images.sources.open_images import open_source

CAT_AND_DOG = [("cat.png", 3), ("dog.png", 10)]
BY_NAME = [("cat.png", "n01440764"), ("dog.png", "tabby cat")]
# The name of a list, its lines, and what it says of two images.
DIALECTS: dict[str, tuple[str, str, list[tuple[str, int | str]]]] = {
    "commas": ("l.csv", "cat.png,3\ndog.png,10\n", CAT_AND_DOG),
    "semicolons": ("l.csv", "path;label\ncat.png;3\ndog.png;10\n", CAT_AND_DOG),
    "semicolons without a header": ("l.csv", "cat.png;3\ndog.png;10\n", CAT_AND_DOG),
    "tabs": ("l.tsv", "path\tlabel\ncat.png\t3\ndog.png\t10\n", CAT_AND_DOG),
    "tabs without a header": ("l.txt", "cat.png\t3\ndog.png\t10\n", CAT_AND_DOG),
    "a space": ("l.txt", "cat.png 3\ndog.png 10\n", CAT_AND_DOG),
    "several spaces": ("l.txt", "cat.png    3\ndog.png   10\n", CAT_AND_DOG),
    "a space and a header": ("l.txt", "path label\ncat.png 3\ndog.png 10\n", CAT_AND_DOG),
    "names with spaces": ("l.txt", "cat.png n01440764\ndog.png tabby cat\n", BY_NAME),
    "names with commas": ("l.tsv", "cat.png\tn01440764\ndog.png\ttabby cat\n", BY_NAME),
    "the label first": ("l.csv", "label,path\n3,cat.png\n10,dog.png\n", CAT_AND_DOG),
    "the label first, no header": ("l.csv", "3,cat.png\n10,dog.png\n", CAT_AND_DOG),
    "decimal labels": ("l.csv", "path,label\ncat.png,3.0\ndog.png,1.0e1\n", CAT_AND_DOG),
    "pandas' index": ("l.csv", ",path,label\n0,cat.png,3\n1,dog.png,10\n", CAT_AND_DOG),
    "a named index": ("l.csv", "Unnamed: 0,file,class\n0,cat.png,3\n1,dog.png,10\n", CAT_AND_DOG),
    "filename and target": ("l.csv", "filename,target\ncat.png,3\ndog.png,10\n", CAT_AND_DOG),
    "image and class": ("l.csv", "image,class\ncat.png,3\ndog.png,10\n", CAT_AND_DOG),
    "image_id": ("l.csv", "image_id,label\ncat.png,3\ndog.png,10\n", CAT_AND_DOG),
    "image_path": ("l.csv", "label,image_path\n3,cat.png\n10,dog.png\n", CAT_AND_DOG),
    "ImageId without endings": ("l.csv", "ImageId,Label\ncat,3\ndog,10\n", CAT_AND_DOG),
    "further columns": (
        "l.csv", "width,path,split,label\n4,cat.png,val,3\n4,dog.png,val,10\n", CAT_AND_DOG,
    ),
    "quoted cells": ("l.csv", '"path","label"\n"cat.png","3"\n"dog.png","10"\n', CAT_AND_DOG),
    "lines of Windows": ("l.csv", "\ufeffpath;label\r\ncat.png;3\r\ndog.png;10\r\n", CAT_AND_DOG),
    "Kaggle's LOC_val_solution.csv": (
        "LOC_val_solution.csv",
        "ImageId,PredictionString\ncat,n01440764 1 2 3 4 n01440764 5 6 7 8 \n"
        "dog,n02123045 1 2 3 4\n",
        [("cat.png", "n01440764"), ("dog.png", "n02123045")],
    ),
    "Hugging Face's metadata.jsonl": (
        "metadata.jsonl",
        '{"file_name": "cat.png", "label": 3}\n\n{"label": 10.0, "file_name": "dog.png"}\n',
        CAT_AND_DOG,
    ),
    "Hugging Face's metadata.csv": (
        "metadata.csv", "file_name,label\ncat.png,3\ndog.png,10\n", CAT_AND_DOG,
    ),
    "JSON lines with names": (
        "l.jsonl",
        '{"image": "cat.png", "class": "n01440764"}\n{"image": "dog.png", "class": "tabby cat"}\n',
        BY_NAME,
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two images."""
    (tmp_path / "images").mkdir()
    for shade, name in ((1, "cat"), (2, "dog")):
        (tmp_path / "images" / f"{name}.png").write_bytes(png(shade))
    return tmp_path / "images"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_is_read_as_a_list_and_as_labels(folder: Path, dialect: str) -> None:
    name, text, wanted = DIALECTS[dialect]
    (folder / name).write_bytes(text.encode())
    (folder.parent / name).write_bytes(text.encode())
    listed = list(open_source(folder / name))
    assert [(record.name, record.label) for record in listed] == wanted
    assert [int(record.load()[0, 0, 0]) for record in listed] == [1, 2]
    (folder / name).unlink()
    labeled = open_source(folder, labels=folder.parent / name)
    assert list(zip(labeled.names, labeled.labels, strict=True)) == wanted


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_metadata_beside_pictures_are_their_labels(folder: Path, name: str) -> None:
    text = "file_name,label\ndog.png,10\n"
    if name.endswith("jsonl"):
        text = '{"file_name": "dog.png", "label": 10}\n'
    (folder / name).write_text(text)
    source = open_source(folder)
    assert list(zip(source.names, source.labels, strict=True)) == [
        ("cat.png", None),
        ("dog.png", 10),
    ]


def test_metadata_without_labels_leave_the_images_unlabeled(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text('{"file_name": "dog.png", "text": "a dog"}\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(open_source(folder).labels) == [None, None]


REFUSED: dict[str, tuple[str, str, str]] = {
    "unknown columns": (
        "l.csv",
        "id,breed\ncat.png,3\n",
        "line 1: unknown columns id, breed; name",
    ),
    "no column of paths": ("l.csv", "label,breed\n3,tabby\n", "line 1: no column of paths among"),
    "three columns": ("l.csv", "0,cat.png,3\n1,dog.png,10\n", "line 1: there is no header; name"),
    "half a class": ("l.csv", "path,label\ncat.png,3.5\n", "line 2: the label 3.5 is not a class"),
    "no path": ("l.csv", "path,label\ncat.png,3\n,10\n", "line 3: the path is missing"),
    "two synsets": (
        "l.csv",
        "ImageId,PredictionString\ncat,n01440764 1 2 3 4 n02123045 5 6 7 8\n",
        "line 2: expected boxes of one synset",
    ),
    "no JSON": ("l.jsonl", '{"file_name": "cat.png"}\n{oops\n', "line 2: not JSON"),
    "nested JSON": ("l.jsonl", "[" * 100_000, "line 1: not JSON"),
    "JSON without a path": (
        "l.jsonl",
        '{"label": 1}\n',
        'line 1: the path is missing; write "file',
    ),
    "a JSON list": ("l.jsonl", "[1]\n", "line 1: not an object"),
    "a truth as label": ("l.jsonl", '{"file": "cat.png", "label": true}\n', "line 1: a label must"),
    "nothing": ("l.csv", "\n\n", "names no image"),
    "bytes that are no text": ("l.csv", "path,label\n\udcff.png,3\n", "byte 11 is not UTF-8"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_unreadable_list_is_refused_with_its_line(folder: Path, kind: str) -> None:
    name, text, words = REFUSED[kind]
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SourceError) as caught:
        open_source(folder / name)
    assert words in str(caught.value) and str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_without_labels_says_so(folder: Path) -> None:
    (folder / "l.csv").write_text("path,breed\ncat.png,tabby\n")
    with pytest.warns(AdccWarning, match="l.csv has no labels: none of its columns breed is named"):
        assert list(open_source(folder / "l.csv").labels) == [None]
    with pytest.raises(SourceError, match="line 1: no column of labels among breed; name it label"):
        open_source(folder, labels=folder / "l.csv")


def test_a_name_without_ending_must_be_unique(folder: Path) -> None:
    (folder / "cat.jpg").write_bytes(png(0))
    (folder / "l.csv").write_text("ImageId,label\ncat,1\n")
    with pytest.raises(SourceError, match=r"line 2: cat may be cat\.jpg or cat\.png"):
        open_source(folder / "l.csv")
