"""Model cards: their keys and the error messages for invalid ones."""

from __future__ import annotations

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
