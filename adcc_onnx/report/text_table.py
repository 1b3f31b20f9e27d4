"""The table for people: percent with one decimal, the best method first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adcc_onnx.errors import escape_control_characters
from adcc_onnx.report.ranked_layout import ranked_layout
from adcc_onnx.report.result_rows import doubts, headline, legend, remarks
from adcc_onnx.report.table_layout import PLAIN, Display, Table
from adcc_onnx.results.evaluation_result import EvaluationResult


def results_to_table(results: Sequence[EvaluationResult], display: Display = PLAIN) -> str:
    """Write one block per run: its settings, the ranked methods, and the failures.

    Args:
        results: The results of the runs.
        display: Where the text is shown.
    """
    return "\n".join(_block(result, display) for result in results)


def _block(result: EvaluationResult, display: Display) -> str:
    return "".join(
        f"{line}\n"
        for line in (
            *text_lines([headline(result)], display, "title"),
            *table_lines(ranked_layout(result), display),
            *text_lines(legend(result), display, "legend"),
            *text_lines([*doubts(result), *remarks(result)], display, "warning"),
        )
    )


def table_lines(table: Table, display: Display = PLAIN) -> list[str]:
    """Return the lines of a table, in which control characters are written out.

    Args:
        table: The table.
        display: Where it is shown.
    """
    if display != PLAIN:
        from adcc_onnx.report.terminal_table import terminal_table

        return terminal_table(table, display)
    left = [i for i, column in enumerate(table.columns) if column.left]
    rows = aligned_rows([[column.heading for column in table.columns], *table.rows], left)
    if table.second is not None:
        rows.insert(2 + table.second, rows[1])
    return [safe(row) for row in rows]


def text_lines(texts: Iterable[str], display: Display = PLAIN, style: str = "") -> list[str]:
    """Return lines of text, in which control characters are written out.

    Args:
        texts: The lines.
        display: Where they are shown.
        style: What they mean, such as "title", "legend" or "warning"; a terminal shows it by a
            color.
    """
    if display != PLAIN:
        from adcc_onnx.report.terminal_table import terminal_text

        return terminal_text(texts, display, style)
    return [safe(text) for text in texts]


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
