"""Model cards: their keys and the error messages for invalid ones."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from adcc_onnx.errors import PreprocessingError
from adcc_onnx.images.cards import card_beside, read_card

WHOLE = """
size = [192, 224]
resize = 240
interpolation = "bicubic"
scale = 127.5
mean = 1.0
std = [1.0, 2.0, 4.0]
channels = "BGR"
decode = "reduced"
layout = "NHWC"
labels = "names.txt"
layer = "block5"
scores = "probabilities"
[about]
source = "where it came from"
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "net.toml").write_text(WHOLE)
    card = card_beside(tmp_path / "net.onnx")
    assert card is not None
    assert (card.size, card.layout, card.layer) == ((192, 224), "NHWC", "block5")
    assert (card.labels, card.scores) == (["cat", "dog"], "probabilities")
    steps = card.preprocessing((192, 224))
    assert steps is not None
    assert steps.describe() == {
        "size": [192, 224],
        "resize": 240,
        "crop": True,
        "interpolation": "bicubic",
        "scale": 127.5,
        "mean": [1.0, 1.0, 1.0],
        "std": [1.0, 2.0, 4.0],
        "channels": "BGR",
        "decode": "reduced",
    }


def test_a_preset_can_be_taken_and_changed(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text('preset = "torch"\ncrop = false\n')
    steps = read_card(tmp_path / "net.toml").preprocessing((224, 224))
    assert steps is not None
    assert steps.mean == (0.485, 0.456, 0.406) and not steps.crop


def test_a_card_may_lack_preprocessing(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text('layer = "block5"\n')
    assert read_card(tmp_path / "net.toml").preprocessing((224, 224)) is None
    assert card_beside(tmp_path / "other.onnx") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resiez = 256", "did you mean 'resize'"),
        ("resize = '256'", "resize must have the type int"),
        ("crop = 1", "crop must have the type bool"),
        ("mean = [1, 2]", "mean must be one number or three"),
        ("std = [1, true, 1]", "std must hold numbers"),
        ("size = [224]", "size must be an integer or"),
        ("size = 0", "at least 1 pixel"),
        ("layout = 'CHW'", "NCHW, NHWC"),
        ("decode = 'fast'", "decode must be one of full, reduced, not 'fast'"),
        ("labels = '../names.txt'", "outside the card's folder"),
        ("labels = 'absent.txt'", "cannot be read"),
        ("labels = 3", "file name or a list"),
        ("resize = ", "cannot be read"),
    ],
)
def test_a_mistake_is_named_with_its_card(tmp_path: Path, text: str, words: str) -> None:
    card = tmp_path / "net.toml"
    card.write_text(text)
    with pytest.raises(PreprocessingError) as caught:
        read_card(card)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert "net.toml" in str(caught.value) or "absent.txt" in str(caught.value)


def test_a_missing_card_names_the_presets(tmp_path: Path) -> None:
    with pytest.raises(PreprocessingError, match="torch, tf, caffe, unit"):
        read_card(tmp_path / "none.toml")


def holding(text: str) -> Callable[[Path], object]:
    """Return a function that writes a card."""
    return lambda card: card.write_text(text)


def sparse(size: int) -> Callable[[Path], None]:
    """Return a function that makes a file of zeros, which takes no space on the disk."""

    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return make


def beside(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return a function that writes a card whose labels are another, hostile file."""

    def write(card: Path) -> None:
        make(card.with_name(name))
        card.write_text(f"labels = '{name}'")

    return write


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "nested lists": (holding("labels = " + "[" * 3000 + "]" * 3000), "nested too deeply"),
    "nested tables": (holding("about = " + "{a = " * 3000 + "1" + "}" * 3000), "nested too deeply"),
    "shallow lists": (holding("labels = " + "[" * 90 + "]" * 90), "labels must be a file name"),
    "many digits": (holding("size = " + "9" * 6000), "integer of too many digits"),
    "hexadecimal digits": (holding("size = 0x" + "f" * 6000), "integer"),
    "a huge mean": (holding("mean = 0x" + "f" * 2000), "int too large to convert to float"),
    "a huge size": (holding("size = 100000"), "size must be at most 8192 pixels, not 100000"),
    "a huge height": (holding("size = [4000000000, 1]"), "size must be at most 8192 pixels"),
    "a huge resize": (holding("resize = 2000000000"), "resize must be at most 8192 pixels"),
    "an infinite scale": (holding("scale = inf"), "scale must be finite, not inf"),
    "a mean that is no number": (holding("mean = [0.0, nan, 0.0]"), "mean must be finite, not nan"),
    "a zero divisor": (holding("std = [1.0, 0, 1.0]"), "std must not be 0"),
    "a key of two lines": (holding('"a\\nb" = 1'), "unknown key 'a\\nb'"),
    "a long key": (holding(f"{'k' * 100_000} = 1"), "unknown key 'kkk"),
    "a long value": (holding(f"channels = ['{'k' * 100_000}']"), "channels must"),
    "a key set twice": (holding("size = 1\nsize = 2"), "cannot be read: Cannot overwrite a value"),
    "bytes that are no UTF-8": (lambda card: card.write_bytes(b"size = \xff"), "not UTF-8"),
    "zeros": (sparse(1000), "cannot be read"),
    "a large file": (sparse(2**40), "bytes are more than 4,194,304"),
    "a pipe": (os.mkfifo, "cannot be read (it is not a regular file)"),
    "a folder": (Path.mkdir, "cannot be read (it is not a regular file)"),
    "a device": (lambda card: card.symlink_to("/dev/zero"), "not a regular file"),
    "a link without a target": (lambda card: card.symlink_to("none"), "No such file"),
    "a link to itself": (lambda card: card.symlink_to(card.name), "symbolic links"),
    "labels in a pipe": (beside("names", os.mkfifo), "labels file"),
    "labels in a large file": (beside("names", sparse(2**40)), "bytes are more than 67,108,864"),
    "labels in a folder": (beside("names", Path.mkdir), "not a regular file"),
    "labels that are no UTF-8": (
        beside("names", lambda path: path.write_bytes(b"cat\n\xff")),
        "byte 4 is not UTF-8",
    ),
    "labels behind a loop": (beside("names", lambda path: path.symlink_to("names")), "names"),
    "labels with a zero byte": (holding('labels = "a\\u0000b"'), "null byte"),
    "labels of a long name": (holding(f"labels = '{'n' * 5000}'"), "too long"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_card_fails_in_one_clear_line(tmp_path: Path, kind: str) -> None:
    make, words = HOSTILE[kind]
    make(tmp_path / "net.toml")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PreprocessingError) as caught:
        card_beside(tmp_path / "net.onnx")
    said = str(caught.value)
    assert words in said and "\n" not in said
    assert len(said.replace(str(tmp_path), "").replace("n" * 5000, "")) < 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB
