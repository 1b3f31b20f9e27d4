"""The example programs run, and the notebook shows what its stored outputs show."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.notebook_runner import run_notebook, stored_outputs, without_numbers
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import METHODS
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def run_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> str:
    """Run a program as its own `__main__`, and return what it prints."""
    monkeypatch.setattr("sys.argv", [name, *words])
    with METHODS.isolated():
        try:
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        except SystemExit as end:
            assert not end.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        (
            "evaluate_own_model",
            [str(classifier_path()), "drawings:10"],
            r"best: \w+(\+\+)?, ADCC between \d\d\.\d and \d\d\.\d",
        ),
        ("own_method", [], r"variancecam\(power=2\): .*adcc 0\.\d+"),
        ("compare_two_runs", [], r"paired permutation test"),
    ],
)
def test_programs_print_what_they_promise(
    name: str,
    words: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert re.search(expected, run_example(name, monkeypatch, capsys, *words))


def test_the_gate_writes_a_baseline_and_then_compares_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(classifier_path()), "drawings:8", str(tmp_path / "baseline.sqlite")]
    for _ in range(2):
        shown = run_example("ci_gate", monkeypatch, capsys, *arguments)
        assert shown.count("passed") == 2
    assert (tmp_path / "baseline.sqlite").exists()


def test_a_baked_model_is_served_without_this_package(tmp_path: Path) -> None:
    adcc.save_baked(classifier_path(), tmp_path / "explained.onnx", "gradcam")
    drawing = draw(seed=1, index=2)
    Image.fromarray(drawing.image).save(tmp_path / "photo.png")
    forbid = "import sys; sys.modules['adcc_onnx'] = None; sys.argv = sys.argv[1:]; import runpy; "
    code = forbid + "runpy.run_path(sys.argv[0], run_name='__main__')"
    words = [str(EXAMPLES / "serve_baked_model.py"), "explained.onnx", "photo.png", "heat.png"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"class {drawing.label}: " in done.stdout and "(1, 112, 112)" in done.stdout
    assert Image.open(tmp_path / "heat.png").size == (224, 112)


def test_the_page_lists_all_examples() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert listed == files | {"browser-demo/"}


@pytest.fixture
def plotting() -> None:
    """The notebook makes data frames and plots."""
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib").use("Agg")


@pytest.mark.usefixtures("plotting")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_its_stored_outputs(path: Path) -> None:
    with METHODS.isolated():
        shown = run_notebook(path)
    for (text, html), (stored_text, stored_html) in zip(shown, stored_outputs(path), strict=True):
        assert (html is None) == (stored_html is None)
        for now, before in ((text, stored_text), (html or "", stored_html or "")):
            words, numbers = without_numbers(now)
            stored_words, stored_numbers = without_numbers(before)
            assert words == stored_words
            assert numbers == pytest.approx(stored_numbers, rel=0.05, abs=0.05)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_executed_without_an_error(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] in ("error", "stream")]
    assert not re.search(r"/(?:home|root|tmp|work)/", path.read_text("utf-8"))


def test_the_first_notebook_has_two_plots() -> None:
    cells = json.loads((EXAMPLES / "quickstart.ipynb").read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
