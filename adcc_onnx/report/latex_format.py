"""Results as LaTeX: a tabular for the package booktabs, in a table environment on request."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.report.paper_table import (
    LIKE_A_CONTROL,
    TIE,
    Cell,
    PaperTable,
    TableLayout,
    paper_tables,
)
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.evaluation_result import EvaluationResult

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\char34{}",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "≥": r"$\geq$",
        "·": r"$\cdot$",
        TIE: r"$\dagger$",
        LIKE_A_CONTROL: r"$\ddagger$",
        **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    }
)
_MARKS = {TIE: r"\dagger", LIKE_A_CONTROL: r"\ddagger"}


def results_to_latex(results: Sequence[EvaluationResult], layout: TableLayout | None = None) -> str:
    """Write one table for a document; the settings of the runs are comments above it.

    Args:
        results: The results; several become groups of rows.
        layout: Columns, caption and label. With a caption or a label, the tabular stands in a
            table environment with its legend; otherwise the legend is a comment, too.

    Returns:
        Text that ends in a newline.

    Raises:
        OptionError: A column does not exist.
    """
    chosen = layout or TableLayout()
    tables = paper_tables(results, chosen)
    comments = ["needs booktabs: \\usepackage{booktabs}"]
    for table in tables:
        comments += [table.settings, *table.legend, *table.warnings]
    body = _tabular(tables)
    if chosen.caption or chosen.label:
        body = _environment(tables, body, chosen)
    # A comment ends with its line; `safe` leaves no line breaks in it.
    lines = [*(f"% {safe(comment)}" for comment in comments), *body]
    return "".join(f"{line}\n" for line in lines)


def _tabular(tables: Sequence[PaperTable]) -> list[str]:
    header = tables[0].header if tables else ["Method"]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        " & ".join(map(_text, header)) + r" \\",
    ]
    for table in tables:
        lines.append(r"\midrule")
        if len(tables) > 1:
            heading = rf"\emph{{{_text(table.model)}}}"
            lines.append(rf"\multicolumn{{{len(header)}}}{{l}}{{{heading}}} \\")
        lines += [_row(title, cells) for title, cells in table.methods]
        if table.controls:
            lines.append(r"\midrule" if len(tables) == 1 else r"\addlinespace")
        lines += [_row(title, cells) for title, cells in table.controls]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _environment(
    tables: Sequence[PaperTable], tabular: Sequence[str], layout: TableLayout
) -> list[str]:
    legend = dict.fromkeys(line for table in tables for line in table.legend)
    return [
        r"\begin{table}",
        r"\centering",
        # The caption is LaTeX of the user's own, and may hold commands such as \cite.
        *([rf"\caption{{{layout.caption}}}"] if layout.caption else []),
        *([rf"\label{{{layout.label}}}"] if layout.label else []),
        *tabular,
        *([rf"\par\smallskip{{\footnotesize {_text(' '.join(legend))}\par}}"] if legend else []),
        r"\end{table}",
    ]


def _row(title: str, cells: Sequence[Cell]) -> str:
    # LaTeX would read a [ or * at the start of a row as an option of the row before: use braces.
    return " & ".join([f"{{{_text(title)}}}", *map(_cell, cells)]) + r" \\"


def _cell(cell: Cell) -> str:
    value = "--" if cell.value == "-" else _number(cell.value)
    bold = rf"\textbf{{{value}}}" if cell.best else value
    marks = "".join(_MARKS[mark] for mark in cell.marks)
    raised = f"$^{{{marks}}}$" if marks else ""
    interval = rf" {{\footnotesize {_number(cell.interval)}}}" if cell.interval else ""
    return f"{bold}{raised}{interval}"


def _number(text: str) -> str:
    """Write numbers with a minus sign instead of a hyphen."""
    return _text(text).replace("-", "$-$")


def _text(text: str) -> str:
    return safe(text).translate(_ESCAPES)
