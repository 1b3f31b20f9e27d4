"""Sphinx extension that marks long code in tables, so that the style sheet may break it anywhere.

Names of tests have no spaces. Without a break, a column of them is wider than the page.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_LONG = 22  # characters


def mark_long_code(app: Sphinx, document: nodes.document) -> None:
    """Give long code in tables a class of its own."""
    for table in document.findall(nodes.table):
        for code in table.findall(nodes.literal):
            if len(code.astext()) > _LONG:
                code["classes"].append("long-code")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step, which follows the reading of each page."""
    app.connect("doctree-read", mark_long_code)
    return {"parallel_read_safe": True}
