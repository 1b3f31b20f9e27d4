"""Written cards are read back as they were."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcc_onnx.images.card_writing import preprocessing_keys, write_card
from adcc_onnx.images.cards import read_card
from adcc_onnx.images.preprocessing import CHANNELS, INTERPOLATIONS, Preprocessing

numbers = st.floats(-300, 300, allow_nan=False).filter(lambda x: abs(x) > 1e-3)


@st.composite
def preprocessings(draw: Any) -> Preprocessing:
    height, width = draw(st.tuples(st.integers(1, 512), st.integers(1, 512)))
    channels = draw(st.sampled_from(CHANNELS))
    count = {"L": 1, "bands": 5}.get(channels, 3)
    constants = st.lists(numbers, min_size=count, max_size=count).map(tuple)
    crop = draw(st.booleans())
    return Preprocessing(
        (height, width),
        resize=draw(st.integers(max(height, width), 1024)) if crop else max(height, width),
        crop=crop,
        interpolation=draw(st.sampled_from(sorted(INTERPOLATIONS))),
        scale=draw(numbers),
        mean=draw(constants),
        std=draw(constants),
        channels=channels,
        decode=draw(st.sampled_from(["full", "reduced"])),
    )


@given(steps=preprocessings())
@settings(max_examples=60, deadline=None)
def test_a_preprocessing_survives_its_card(steps: Preprocessing) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (card,) = write_card(Path(folder, "net.toml"), preprocessing_keys(steps))
        read = read_card(card)
    assert read.size == steps.size
    found = read.preprocessing(steps.size, steps.depth)
    assert found is not None
    if steps.crop:
        assert found == steps
    else:  # without a crop, the length of the shorter side has no meaning
        assert found.crop is False and found.describe() | {"resize": 0} == steps.describe() | {
            "resize": 0
        }


@pytest.mark.parametrize("name", ["plain", 'quo"ted', "back\\slash", "käse", "a = 1 # no comment"])
def test_names_and_notes_survive(name: str, tmp_path: Path) -> None:
    files = write_card(
        tmp_path / "net.toml",
        {"size": 8, "layer": name, "scores": None, "about": {"source": name}},
        [name, "second"],
    )
    read = read_card(files[-1])
    assert (read.layer, read.labels, read.scores) == (name, [name, "second"], None)
