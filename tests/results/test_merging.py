"""Runs that were made separately and merged equal a run that was made at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.errors import StoreError
from adcc_onnx.model import Model
from adcc_onnx.report.rendering import render
from adcc_onnx.results.merging import merge_stores
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

IMAGES = np.random.default_rng(2).standard_normal((7, 3, 8, 8)).astype(np.float32)
METRICS = ["adcc", "deletion(steps=4)"]
CONFIG = {"model": "net", "methods": ["gradcam"], "seed": 0, "images": "a"}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    onnx.save(small(), tmp_path / "net.onnx")
    return adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=4)


def as_json(path: Path) -> str:
    with Store.open(path) as store:
        return render([store], "json")


def test_methods_evaluated_separately(model: Model, tmp_path: Path) -> None:
    whole, first, second, both = (tmp_path / f"{name}.sqlite" for name in "wabc")
    adcc.evaluate(
        model, IMAGES, ["gradcam", "random", "layercam"], METRICS, controls=False, out=whole
    )
    adcc.evaluate(model, IMAGES, ["gradcam", "random"], METRICS, controls=False, out=first)
    adcc.evaluate(model, IMAGES, ["random", "layercam"], METRICS, controls=False, out=second)
    merge_stores([first, second], both)
    assert as_json(both) == as_json(whole)


def test_images_evaluated_separately(model: Model, tmp_path: Path) -> None:
    """Images are identified by name: halves may overlap and come in any order."""
    whole, first, second, both = (tmp_path / f"{name}.sqlite" for name in "wabc")
    adcc.evaluate(model, IMAGES, ["gradcam"], METRICS, out=whole)
    adcc.evaluate(model, IMAGES, ["gradcam"], METRICS, limit=5, out=first)
    adcc.evaluate(model, IMAGES, ["gradcam"], METRICS, limit=2, out=second)
    merge_stores([second, first], both)
    with Store.open(both) as store:
        (run,) = store.runs()
        assert run.images == 5 and run.complete
    merge_stores([whole, first], tmp_path / "again.sqlite")
    assert as_json(tmp_path / "again.sqlite") == as_json(whole)


def part(path: Path, names: str, config: dict | None = None, value: float = 0.5) -> Path:
    with Store.create(path) as store:
        run = store.begin({**CONFIG, **(config or {})})
        images = [ImageRow(i, name, None, 1, 1, 0.5, None) for i, name in enumerate(names)]
        scores = [
            ScoreRow(i, "gradcam", False, None, {"average_drop": value}) for i in range(len(names))
        ]
        store.write(run, images, scores)
    return path


def test_images_whose_positions_are_taken_follow_the_last(tmp_path: Path) -> None:
    first = part(tmp_path / "1", "abc")
    second = part(tmp_path / "2", "bxy", {"images": "b"})
    merge_stores([first, second], tmp_path / "both")
    with Store.open(tmp_path / "both") as store:
        names = [(image.position, image.name) for image, _ in store.rows(1)]
        assert names == [(0, "a"), (1, "b"), (2, "c"), (3, "x"), (4, "y")]
        assert store.configs()["net"][1]["images"] == "a + b"
        assert not store.configs()["net"][2]


def test_several_models(tmp_path: Path) -> None:
    merge_stores(
        [part(tmp_path / "1", "ab"), part(tmp_path / "2", "ab", {"model": "other"})], tmp_path / "c"
    )
    with Store.open(tmp_path / "c") as store:
        assert list(store.configs()) == ["net", "other"]


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    first, into = part(tmp_path / "1", "ab"), tmp_path / "c"
    with pytest.raises(StoreError, match="made differently \\(seed: 0 -> 3\\)"):
        merge_stores([first, part(tmp_path / "2", "cd", {"seed": 3})], into)
    with pytest.raises(StoreError, match="contradicts an earlier part about the image 'b'"):
        merge_stores([first, part(tmp_path / "3", "bc", value=0.25)], into)
    assert not into.exists()
    with pytest.raises(StoreError, match="exists"):
        merge_stores([first], first)
    with pytest.raises(StoreError, match="no such run"):
        merge_stores([first, tmp_path / "none"], into)
