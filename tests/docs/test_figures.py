"""The drawn figures of the documentation show what the package computes."""

from __future__ import annotations

import runpy
from pathlib import Path

FIGURES = Path(__file__).parents[2] / "docs" / "_figures"


def test_the_exposed_graph_is_the_one_that_expose_builds() -> None:
    figure = runpy.run_path(str(FIGURES / "exposed_graph.py"))
    assert figure["PICTURE"].read_text("utf-8") == figure["draw"]()
