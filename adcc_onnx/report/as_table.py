"""The table for people: percent with one decimal, the best first."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.metrics.metric import Metric
from adcc_onnx.metrics.registry import find_metric
from adcc_onnx.report.summary import Failure, MethodSummary, RunSummary

_NAMED_FAILURES = 10
_RANKED_BY = "adcc"


def to_table(runs: Sequence[RunSummary]) -> str:
    """One block a run: what was run, the ranked methods, and what failed."""
    return "\n".join(_block(run) for run in runs)


def _block(run: RunSummary) -> str:
    lines = [_headline(run), *_rows(run), *_failures(run.failures)]
    if not run.complete:
        lines.append("The run is not complete: `adcc-onnx evaluate ... --resume` continues it.")
    return "".join(f"{safe(line)}\n" for line in lines)


def _headline(run: RunSummary) -> str:
    parts = [
        run.model,
        f"{run.images} images",
        f"layer {run.layer}",
        f"target {run.target}",
        f"protocol {run.protocol}",
    ]
    if run.failed:
        parts.append(f"{run.failed} failed")
    if run.top1 is not None:
        parts.append(f"top-1 {_percent(run.top1)} %")
    return " · ".join(parts)


def _rows(run: RunSummary) -> list[str]:
    methods = list(run.methods.items())
    figures = list(dict.fromkeys(name for _, method in methods for name in method.figures))
    if _RANKED_BY in figures:
        methods.sort(key=lambda item: -item[1].figures.get(_RANKED_BY, -1.0))
    counts = [c for c in ("degenerate", "failed") if any(getattr(m, c) for _, m in methods)]
    header = ["method", *map(_title, figures), *counts]
    body = [[name, *_cells(method, figures, counts)] for name, method in methods]
    return aligned_rows([header, *body], left=(0,))


def _cells(method: MethodSummary, figures: Sequence[str], counts: Sequence[str]) -> list[str]:
    values = [method.figures.get(name) for name in figures]
    shown = ["-" if value is None else _percent(value) for value in values]
    return [*shown, *(str(getattr(method, count)) for count in counts)]


def _title(figure: str) -> str:
    """The figure's title and which way is better."""
    metric: Metric | None = find_metric(figure)
    if metric is None:
        # A second figure of a metric, as ADCC's mean over the images.
        return figure.removeprefix("adcc_").replace("_", " ")
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def _percent(value: float) -> str:
    return f"{100.0 * value:.1f}"


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


def _failures(failures: Sequence[Failure]) -> list[str]:
    lines = [
        f"failed: {f.image}{f' ({f.method})' if f.method else ''}: {f.reason}"
        for f in failures[:_NAMED_FAILURES]
    ]
    if len(failures) > _NAMED_FAILURES:
        lines.append(f"failed: and {len(failures) - _NAMED_FAILURES} more")
    return lines


def safe(text: str) -> str:
    """File and class names are not ours: what would steer a terminal is written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
