"""Runs the code cells of a notebook as Jupyter does, without Jupyter: for tests of examples."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PICTURE = re.compile(r"base64,[A-Za-z0-9+/=]+")


def run_notebook(path: Path) -> list[tuple[str, str | None]]:
    """Run all code cells in one namespace.

    Args:
        path: The notebook.

    Returns:
        What each cell shows: the `repr` of its last expression, and its HTML; an empty text and
        None for a cell that shows nothing.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown: list[tuple[str, str | None]] = []
    for cell in _code_cells(path):
        source = "".join(cell["source"])
        tree = ast.parse(source)
        last = tree.body[-1]
        if source.rstrip().endswith(";") or not isinstance(last, ast.Expr):
            exec(compile(tree, "cell", "exec"), namespace)
            shown.append(("", None))
            continue
        exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
        html = getattr(value, "_repr_html_", lambda: None)()
        shown.append((repr(value), html))
    return shown


def stored_outputs(path: Path) -> list[tuple[str, str | None]]:
    """Return what the cells of an executed notebook show, in the form of `run_notebook`."""
    found = []
    for cell in _code_cells(path):
        results = [o["data"] for o in cell["outputs"] if o["output_type"] == "execute_result"]
        data = results[0] if results else {}
        html = "".join(data["text/html"]) if "text/html" in data else None
        found.append(("".join(data.get("text/plain", "")), html))
    return found


def without_numbers(text: str) -> tuple[str, list[float]]:
    """Split a text into its words and its numbers; pictures are left out."""
    plain = _PICTURE.sub("picture", text)
    return re.sub(r"\s+", " ", _NUMBER.sub("#", plain)), [float(n) for n in _NUMBER.findall(plain)]


def _code_cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]
