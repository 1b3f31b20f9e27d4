"""Sphinx extension that marks code by its length, so that the style sheet says where it may break.

Names of tests have no spaces: a column of them is wider than the page unless they break anywhere.
Options begin with two hyphens, after which a browser would break the line.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_LONG = 22  # characters of a word that fits into a line of a phone


def mark_code(app: Sphinx, document: nodes.document) -> None:
    """Give short code, and long code in tables, classes of their own."""
    in_tables = {id(code) for table in document.findall(nodes.table) for code in _codes(table)}
    for code in _codes(document):
        if max(map(len, code.astext().split()), default=0) <= _LONG:
            code["classes"].append("short-code")
        elif id(code) in in_tables:
            code["classes"].append("long-code")


def _codes(node: nodes.Element) -> list[nodes.literal]:
    return list(node.findall(nodes.literal))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step, which follows the reading of each page."""
    app.connect("doctree-read", mark_code)
    return {"parallel_read_safe": True}
