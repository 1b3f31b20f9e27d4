"""LaTeX: a tabular a run, for the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.report.summary_rows import grid, headline, notes
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.summary import RunSummary

_WRITTEN = str.maketrans(
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


def to_latex(runs: Sequence[RunSummary]) -> str:
    """Tables to be put in a document; what was run, and the marks, stand as comments."""
    return "\n".join(_tabular(run) for run in runs)


def _tabular(run: RunSummary) -> str:
    header, *rows = grid(run)
    lines = [
        # A comment ends with its line, and `safe` leaves no other.
        *(f"% {safe(line)}" for line in ["needs booktabs", headline(run), *notes(run)]),
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _row(header),
        r"\midrule",
        *map(_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _row(cells: Sequence[str]) -> str:
    method, *others = (_text(cell.rstrip()) for cell in cells)
    # In braces: a row that begins with [ or * would be read as an option of the row before it.
    return " & ".join([f"{{{method}}}", *others]) + r" \\"


def _text(text: str) -> str:
    return safe(text).translate(_WRITTEN)
