"""The script of docs/results/results.md, on one model and four drawings."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers.documented_code import ROOT
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw

FAMILY = ["adcc", "average_drop", "average_increase", "coherency", "complexity"]
GROUPS = {
    "gradient": (["gradcam", "layercam", "fakecam"], FAMILY),
    "pixel": (["saliency"], FAMILY),
    "curves": (["gradcam", "layercam", "fakecam"], ["insertion(steps=8)", "deletion(steps=8)"]),
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.chdir(ROOT)
    import results_page

    monkeypatch.setattr(results_page, "PRESETS", {"classifier": None})
    monkeypatch.setattr(results_page, "GROUPS", GROUPS)
    return results_page


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "photos").mkdir()
    for name in ("classifier.onnx", "classifier.toml", "labels.txt"):
        shutil.copy(classifier_path().with_name(name), tmp_path / "models")
    lines = ["path,label"]
    for index in range(4):
        drawing = draw(seed=1, index=index)
        Image.fromarray(drawing.image).save(tmp_path / "photos" / f"{index}.png")
        lines.append(f"photos/{index}.png,{drawing.label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_runs_are_kept_by_group_and_the_page_shows_their_scores(
    script: ModuleType, data: Path
) -> None:
    runs = data / "runs"
    script.evaluate_all(data, runs, list(GROUPS), ["classifier"])
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*.sqlite")}
    script.evaluate_all(data, runs, list(GROUPS), ["classifier"])  # computes nothing again
    assert before == {path: path.stat().st_mtime_ns for path in runs.glob("*.sqlite")}
    assert {path.name for path in before} == {f"classifier.{group}.sqlite" for group in GROUPS}
    (found,) = script.results(runs)
    text = script.page(script.settings(runs), [found])
    scores = adcc.read_results(runs / "classifier.pixel.sqlite")[0].methods["saliency"].scores
    assert f"| saliency | {100 * scores['adcc']:.1f}" in text.replace("**", "").replace("†", "")
    curves = adcc.read_results(runs / "classifier.curves.sqlite")[0].methods["gradcam"].scores
    insertion, deletion = (100 * curves[f"{name}(steps=8)"] for name in ("insertion", "deletion"))
    assert f"| gradcam | {insertion:.1f} / {deletion:.1f} |" in text
    assert "top-1 accuracy 100.0 %" in text and "The control `center` reaches" in text
    assert max(map(len, (line for line in text.splitlines() if line[:1] != "|"))) <= 100


def test_the_page_in_the_site_has_the_models_and_methods_of_the_script() -> None:
    text = (ROOT / "docs" / "results" / "results.md").read_text("utf-8")
    code = (ROOT / "benchmarks" / "results_page.py").read_text("utf-8")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    models = [name for name in headings if f'"{name}": ' in code]
    assert len(models) == 7
    values = [line.split("|")[2] for line in text.splitlines() if line.startswith("| gradcam ")]
    assert values and np.all([any(c.isdigit() for c in value) for value in values])
