"""Figures from rows, and how each format shows them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import color

from adcc_onnx.errors import OptionError, StoreError
from adcc_onnx.evaluation.store import ImageRow, ScoreRow, Store
from adcc_onnx.report import render
from adcc_onnx.report.as_table import safe
from adcc_onnx.report.overlay import overlay, sheet, write_png

METRICS = ["average_drop", "average_increase", "coherency", "complexity", "adcc"]
CONFIG = {
    "model": "net",
    "protocol": "poppi2021",
    "layer": "features",
    "target": "predicted",
    "methods": ["gradcam", "fakecam"],
    "metrics": METRICS,
}
DROPS, COHERENCIES, COMPLEXITIES = (0.1, 0.3), (0.9, 0.7), (0.2, 0.4)


def adcc(drop: float, coherency: float, complexity: float) -> float:
    return 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))


@pytest.fixture
def store() -> Store:
    store = Store.create(None)
    run = store.begin(CONFIG)
    images = [ImageRow(i, f"{i}.png", 1, 1, 1 - i, 0.5, None) for i in range(2)]
    images.append(ImageRow(2, "bad\x1b[31m.png", None, None, None, None, "bad.png: cut short"))
    scores = []
    for i, (drop, coherency, complexity) in enumerate(
        zip(DROPS, COHERENCIES, COMPLEXITIES, strict=True)
    ):
        value = adcc(drop, coherency, complexity)
        figures = dict(zip(METRICS, (drop, float(i), coherency, complexity, value), strict=True))
        scores.append(ScoreRow(i, "gradcam", i == 1, None, figures))
    zero = dict.fromkeys(METRICS, 0.0)
    scores.append(ScoreRow(0, "fakecam", False, None, zero))
    scores.append(ScoreRow(1, "fakecam", False, "the map holds NaN", {}))
    store.write(run, images, scores)
    store.finish(run)
    return store


def test_json_holds_the_figures_as_fractions(store: Store) -> None:
    (run,) = json.loads(render(store, "json"))["runs"]
    assert (run["images"], run["failed"], run["top1"]) == (3, 1, 0.5)
    found = run["methods"]["gradcam"]
    assert found["average_drop"] == pytest.approx(0.2)
    assert found["average_increase"] == 0.5
    assert found["coherency"] == pytest.approx(0.8)
    assert found["complexity"] == pytest.approx(0.3)
    assert found["adcc"] == pytest.approx(adcc(0.2, 0.8, 0.3))
    each = [adcc(*v) for v in zip(DROPS, COHERENCIES, COMPLEXITIES, strict=True)]
    assert found["adcc_per_image"] == pytest.approx(np.mean(each))
    assert (found["degenerate"], found["failed"]) == (1, 0)
    assert run["methods"]["fakecam"]["failed"] == 1
    assert render(store, "json") == render(store, "json")


def test_csv_has_a_row_a_method(store: Store) -> None:
    rows = list(csv.DictReader(io.StringIO(render(store, "csv"))))
    assert [row["method"] for row in rows] == ["gradcam", "fakecam"]
    assert float(rows[0]["adcc"]) == pytest.approx(adcc(0.2, 0.8, 0.3))
    assert (rows[0]["images"], rows[0]["failed"], rows[1]["failed_by_method"]) == ("3", "1", "1")


def test_the_table_ranks_in_percent_and_names_failures(store: Store) -> None:
    table = render(store, "table")
    lines = table.splitlines()
    assert "net · 3 images · layer features" in lines[0]
    assert "1 failed" in lines[0] and "top-1 50.0 %" in lines[0]
    assert lines[3].split()[:2] == ["gradcam", "20.0"] and lines[4].startswith("fakecam")
    assert "failed: bad\\x1b[31m.png: bad.png: cut short" in table
    assert "failed: 1.png (fakecam): the map holds NaN" in table
    assert "\x1b" not in table


def test_an_unfinished_run_says_so() -> None:
    store = Store.create(None)
    store.begin(CONFIG)
    assert "--resume" in render(store, "table")
    assert json.loads(render(store, "json"))["runs"][0]["methods"]["gradcam"] == {
        "degenerate": 0,
        "failed": 0,
    }


def test_an_unknown_format_is_answered_by_name(store: Store) -> None:
    with pytest.raises(OptionError, match="did you mean 'json'"):
        render(store, "jsn")


def test_what_steers_a_terminal_is_written_out() -> None:
    assert safe("a\x1b]0;title\x07\u202eb\n") == "a\\x1b]0;title\\x07\\u202eb\\n"
    assert safe("tench, Tinca · é 犬") == "tench, Tinca · é 犬"


def test_the_colours_grow_evenly_in_lightness() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    black = np.zeros((1, 256, 3), np.uint8)
    lightness = color.rgb2lab(overlay(black, ramp))[0, :, 0]
    assert np.all(np.diff(lightness) > -1.0) and lightness[-1] > lightness[0] + 50
    assert np.corrcoef(ramp[0], lightness)[0, 1] > 0.99


def test_a_sheet_shows_the_picture_and_every_map(tmp_path: Path) -> None:
    picture = np.full((200, 180, 3), 90, np.uint8)
    maps = {"gradcam": np.zeros((200, 180), np.float32), "center": np.ones((200, 180), np.float32)}
    made = sheet(picture, maps)
    assert made.shape[1] == 3 * (180 + 12)
    np.testing.assert_array_equal(made[6:206, 6:186], picture)
    write_png(tmp_path / "sheet.png", made)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, made)
    with pytest.raises(StoreError, match="cannot write"):
        write_png(tmp_path / "none" / "sheet.png", made)
