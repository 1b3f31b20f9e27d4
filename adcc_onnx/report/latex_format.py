"""Results as LaTeX: one tabular per run, for the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.report.result_rows import headline, notes, ranked_table
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
        "≈": r"$\approx$",
        "≥": r"$\geq$",
        "·": r"$\cdot$",
        **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    }
)


def results_to_latex(results: Sequence[EvaluationResult]) -> str:
    """Write tables for a document; settings and legend are comments above each table."""
    return "\n".join(_tabular(result) for result in results)


def _tabular(result: EvaluationResult) -> str:
    table = ranked_table(result)
    controls = [r"\midrule", *map(_row, table.controls)] if table.controls else []
    lines = [
        # A comment ends with its line; `safe` leaves no line breaks in it.
        *(f"% {safe(line)}" for line in ["needs booktabs", headline(result), *notes(result)]),
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        _row(table.header),
        r"\midrule",
        *map(_row, table.methods),
        *controls,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _row(cells: Sequence[str]) -> str:
    method, *others = (_text(cell.rstrip()) for cell in cells)
    # LaTeX would read a [ or * at the start of a row as an option of the row before: use braces.
    return " & ".join([f"{{{method}}}", *others]) + r" \\"


def _text(text: str) -> str:
    return safe(text).translate(_ESCAPES)
