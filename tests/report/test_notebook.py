"""What notebooks show of models, results and explanations; data frames, plots and progress."""

from __future__ import annotations

import base64
import re
import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.stored_runs import three_methods, write_run

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.report.overlay import overlay
from adcc_onnx.results.evaluation_result import EvaluationResult, evaluation_results
from adcc_onnx.results.store import Store

HOSTILE = '<script>alert(1)</script>"\x1b[31m'


class Elements(HTMLParser):
    """The tags of a page, and the text of its table cells; raises where a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("img", "br"):
            self._open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self.cells[-1] += data


@pytest.fixture(scope="module")
def model() -> adcc.Model:
    return adcc.load(classifier_path(), device="cpu")


@pytest.fixture(scope="module")
def result(model: adcc.Model) -> EvaluationResult:
    metrics = ["average_drop", "coherency", "complexity", "adcc", "deletion(steps=4)"]
    return adcc.evaluate(model, "drawings:6", ["gradcam", "layercam"], metrics)


def test_a_model_is_a_short_table(model: adcc.Model) -> None:
    cells = Elements(model._repr_html_() or "").cells
    assert dict(zip(cells[::2], cells[1::2], strict=True)) == {
        "input": "3 x 112 x 112",
        "classes": "10",
        "layer": "/7/Relu_1_output_0",
        "device": "cpu",
        "images per run": "8",
    }


def test_a_result_is_the_ranked_table(result: EvaluationResult) -> None:
    page = result._repr_html_() or ""
    cells, ranking = Elements(page).cells, result.ranking
    assert ranking is not None
    titles = {"gradcam": "Grad-CAM", "layercam": "LayerCAM", "center": "Center", "random": "Random"}
    rows = [cells[i : i + 7] for i in range(7, len(cells), 7)]
    assert [row[0] for row in rows] == [titles[name] for name in ranking.rows]
    for row, name in zip(rows, ranking.rows, strict=True):
        assert f"{100 * result.methods[name].scores['adcc']:.1f}" in row[4]
    assert "has the best ADCC on classifier" in page


def test_explanations_show_the_overlays(model: adcc.Model) -> None:
    found = adcc.explain(model, "drawings:3", "gradcam")
    page = found._repr_html_() or ""
    assert Elements(page).tags.count("img") == 3
    first = found[0]
    assert f"2026-0: {first.class_name} {100 * first.probability:.1f} %" in page
    assert model.labels is not None and first.class_name == model.labels[first.target]
    shown, *_ = re.findall(r"base64,([^\"]+)", page)
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(shown), np.uint8), cv2.IMREAD_COLOR)
    assert first.thumbnail is not None
    encoded = np.frombuffer(first.thumbnail, np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1].copy()
    wanted = overlay(picture, first.map)
    assert np.abs(drawn[:, :, ::-1].astype(int) - wanted).mean() < 4  # JPEG
    assert Elements(first._repr_html_() or "").tags.count("img") == 2


def test_many_explanations_are_cut(model: adcc.Model) -> None:
    page = adcc.explain(model, "drawings:14", "center")._repr_html_() or ""
    assert Elements(page).tags.count("img") == 12 and "and 2 more images" in page


def test_hostile_names_stay_text() -> None:
    store = Store.create(None)
    write_run(store, {HOSTILE: three_methods(5)["good"]}, model=HOSTILE, layer=HOSTILE)
    page = evaluation_results(store)[0]._repr_html_() or ""
    assert "script" not in Elements(page).tags and "\x1b" not in page


def test_a_result_becomes_a_data_frame(result: EvaluationResult) -> None:
    pandas = pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and result.ranking is not None
    assert list(frame.index) == result.ranking.rows
    for name, method in result.methods.items():
        row = frame.loc[name]
        assert row["adcc"] == method.scores["adcc"]
        assert (row["adcc_low"], row["adcc_high"]) == method.intervals["adcc"]
        assert row["control"] == (name in ("center", "random"))


def test_plots_draw_the_values(result: EvaluationResult) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    assert result.ranking is not None
    bars = result.plot(score="coherency")
    widths = [patch.get_width() for patch in bars.patches]
    wanted = [100 * result.methods[name].scores["coherency"] for name in result.ranking.rows]
    assert widths == pytest.approx(wanted)
    curves = result.plot("curves")
    for line in curves.lines:
        name = {"Grad-CAM": "gradcam", "LayerCAM": "layercam"}.get(
            line.get_label(), line.get_label().lower()
        )
        method = result.methods[name]
        np.testing.assert_allclose(line.get_ydata(), method.curves["deletion(steps=4)"])
        np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 1, 5))
    _, axes = pyplot.subplots()
    scatter = result.plot("scatter", x="complexity", y="adcc", ax=axes)
    assert scatter is axes
    first = scatter.collections[0].get_offsets()
    values = result.stored_run.methods[result.ranking.best].values
    np.testing.assert_allclose(first, np.stack([values["complexity"], values["adcc"]], axis=1))
    pyplot.close("all")


def test_mistakes_in_plots_are_named(result: EvaluationResult) -> None:
    with pytest.raises(OptionError, match="no plot 'bar'; did you mean 'bars'"):
        result.plot("bar")
    with pytest.raises(OptionError, match="no score 'coherence'; did you mean 'coherency'"):
        result.plot(score="coherence")
    with pytest.raises(OptionError, match="no value per image 'drop'"):
        result.plot("scatter", x="drop")


def test_an_evaluation_shows_its_progress_in_a_notebook(
    model: adcc.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def display(html: str, display_id: bool) -> Any:
        shown.append(html)
        return SimpleNamespace(update=shown.append)

    jupyter: Any = ModuleType("IPython")
    jupyter.get_ipython = lambda: SimpleNamespace(kernel=object())
    jupyter.display = ModuleType("IPython.display")
    jupyter.display.HTML, jupyter.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", jupyter)
    monkeypatch.setitem(sys.modules, "IPython.display", jupyter.display)
    adcc.evaluate(model, "drawings:9", ["center"], ["complexity"])
    assert 'value="0" max="9"' in shown[0] and 'value="9" max="9"' in shown[-1]
    jupyter.get_ipython = lambda: None
    shown.clear()
    adcc.evaluate(model, "drawings:2", ["center"], ["complexity"])
    assert not shown
