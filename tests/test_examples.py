"""The example notebook runs, and shows what its stored outputs show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers.notebook_runner import run_notebook, stored_outputs, without_numbers

pytest.importorskip("pandas")
pytest.importorskip("matplotlib").use("Agg")

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


def test_the_notebook_shows_its_stored_outputs() -> None:
    for (text, html), (stored_text, stored_html) in zip(
        run_notebook(NOTEBOOK), stored_outputs(NOTEBOOK), strict=True
    ):
        assert (html is None) == (stored_html is None)
        for now, before in ((text, stored_text), (html or "", stored_html or "")):
            words, numbers = without_numbers(now)
            stored_words, stored_numbers = without_numbers(before)
            assert words == stored_words
            assert numbers == pytest.approx(stored_numbers, rel=0.05, abs=0.05)


def test_the_notebook_is_executed_without_an_error() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] in ("error", "stream")]
    assert sum("image/png" in output["data"] for output in outputs) == 2
    assert not re.search(r"/(?:home|root|tmp|work)/", NOTEBOOK.read_text("utf-8"))
