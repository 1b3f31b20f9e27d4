"""Results as Markdown (CommonMark with tables), for pull requests and model cards."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adcc_onnx.report.paper_table import Cell, PaperTable, TableLayout, paper_tables
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.evaluation_result import EvaluationResult

# The colon of "https://" and the dot of "www." would otherwise make links of addresses.
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&!$#]|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)


def results_to_markdown(
    results: Sequence[EvaluationResult], layout: TableLayout | None = None
) -> str:
    """Write one table per run with its settings and legend.

    Args:
        results: The results.
        layout: Columns and caption.

    Returns:
        Text that ends in a newline.

    Raises:
        OptionError: A column does not exist.
    """
    chosen = layout or TableLayout()
    blocks = [_block(table) for table in paper_tables(results, chosen)]
    # The caption is Markdown of the user's own.
    return "\n".join([f"{chosen.caption}\n", *blocks] if chosen.caption else blocks)


def _block(table: PaperTable) -> str:
    rows = [[escape_markdown(heading) for heading in table.header]]
    for title, cells in table.methods:
        rows.append([escape_markdown(title), *map(_cell, cells)])
    for title, cells in table.controls:
        rows.append([f"*{escape_markdown(title)}*", *map(_cell, cells)])
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(row, widths) for row in (rows[0], rule, *rows[1:])]
    italic = ["Italic: control."] if table.controls else []
    texts = [" ".join([*table.legend, *italic]), *table.warnings]
    notes = [f"\n{escape_markdown(text)}" for text in texts if text]
    # Text before the settings keeps a name such as "# net" from becoming a heading.
    return "\n".join([f"Model {escape_markdown(table.settings)}", "", *lines, *notes, ""])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def _cell(cell: Cell) -> str:
    bold = f"**{cell.value}**" if cell.best else cell.value
    return " ".join(part for part in (bold + cell.marks, cell.interval) if part)


def escape_markdown(text: str) -> str:
    r"""Escape what Markdown would not show as it is.

    Args:
        text: Plain text; control characters in it are written out.

    Example:
        >>> print(escape_markdown("a|b *c* <d>"))
        a\|b \*c\* \<d\>
    """
    return _SPECIAL.sub(r"\\\g<0>", safe(text))
