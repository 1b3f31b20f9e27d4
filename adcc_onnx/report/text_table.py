"""The table for people: percent with one decimal, the best first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adcc_onnx.report.summary_rows import grid, headline, notes
from adcc_onnx.results.summary import RunSummary


def to_table(runs: Sequence[RunSummary]) -> str:
    """One block a run: what was run, the ranked methods, and what failed."""
    return "\n".join(_block(run) for run in runs)


def _block(run: RunSummary) -> str:
    return lines([headline(run), *aligned_rows(grid(run), left=(0,)), *notes(run)])


def lines(texts: Iterable[str]) -> str:
    """Lines that are safe to print, each ended."""
    return "".join(f"{safe(text)}\n" for text in texts)


def aligned_rows(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Lines of columns, the first row underlined; columns in `left` flush left, others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in ruled
    ]


def safe(text: str) -> str:
    """File and class names are not ours: what would steer a terminal is written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
