"""The table for people: percent with one decimal, the best method first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adcc_onnx.errors import escape_control_characters
from adcc_onnx.report.result_rows import headline, notes, ranked_table
from adcc_onnx.results.evaluation_result import EvaluationResult


def results_to_table(results: Sequence[EvaluationResult]) -> str:
    """Write one block per run: its settings, the ranked methods, and the failures."""
    return "\n".join(_block(result) for result in results)


def _block(result: EvaluationResult) -> str:
    table = ranked_table(result)
    rows = aligned_rows([table.header, *table.methods, *table.controls], left=(0,))
    if table.controls:
        rows.insert(2 + len(table.methods), rows[1])
    return printable_lines([headline(result), *rows, *notes(result)])


def printable_lines(texts: Iterable[str]) -> str:
    """End every text with a newline, and write out its control characters."""
    return "".join(f"{safe(text)}\n" for text in texts)


def aligned_rows(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Align the columns of a table.

    Args:
        rows: Cells of each row; the first row is the header and gets underlined.
        left: Indices of the left-aligned columns; the others are right-aligned.

    Returns:
        One line per row, and the underline.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    underlined = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in underlined
    ]


def safe(text: str) -> str:
    r"""Write out control characters, which names from files could use to control a terminal.

    Example:
        >>> print(safe("\x1b[31mred"))
        \x1b[31mred
    """
    return escape_control_characters(text)
