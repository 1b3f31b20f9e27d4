"""Markdown as markdown-it reads it: the cells of a table, and the HTML."""

from __future__ import annotations

from itertools import pairwise

import pytest


def rendered_html(text: str) -> str:
    """Return the HTML of CommonMark with tables."""
    markdown_it = pytest.importorskip("markdown_it")
    html: str = markdown_it.MarkdownIt("commonmark").enable("table").render(text)
    return html


def parse_table(text: str, plain: bool = False) -> list[list[str]]:
    """Return the cells of the first table.

    Args:
        text: The Markdown.
        plain: Whether bold and italic text loses its asterisks.
    """
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(text)
    rows: list[list[str]] = []
    for token, following in pairwise(tokens):
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("th_open", "td_open"):
            rows[-1].append(_cell(following, plain))
    return rows


def _cell(inline: object, plain: bool) -> str:
    children = getattr(inline, "children", None) or []
    marks = {"strong_open": "**", "strong_close": "**"}
    return "".join(
        child.content or ("" if plain else marks.get(child.type, "")) for child in children
    )
