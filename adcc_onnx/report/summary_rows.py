"""What the formats for people share: a run's headline, its rows of text, and what is said below."""

from __future__ import annotations

from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.score_columns import Score
from adcc_onnx.results.store import FailedRow
from adcc_onnx.results.summary import MethodSummary, RunSummary

TIED = "≈"
_NAMED_FAILURES = 10


def headline(run: RunSummary) -> str:
    """What was run."""
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
        parts.append(f"top-1 {100.0 * run.top1:.1f} %")
    return " · ".join(parts)


def grid(run: RunSummary) -> list[list[str]]:
    """The header and a row a method, the best first."""
    order = run.ranking.order if run.ranking else list(run.methods)
    shown = [f for n, f in run.scores.items() if any(n in m.scores for m in run.methods.values())]
    counts = [
        c for c in ("degenerate", "failed") if any(getattr(m, c) for m in run.methods.values())
    ]
    header = ["method", *(score.head for score in shown), *counts, "time"]
    return [header, *(_row(run, name, shown, counts) for name in order)]


def notes(run: RunSummary) -> list[str]:
    """What the marks mean, and what went wrong."""
    lines = [] if run.ranking is None else _legend(run, run.ranking)
    lines += [f"failed: {failure_text(f)}" for f in run.failures[:_NAMED_FAILURES]]
    if len(run.failures) > _NAMED_FAILURES:
        more = len(run.failures) - _NAMED_FAILURES
        lines.append(f"failed: and {more} more, which `adcc-onnx report --failures` lists")
    if not run.complete:
        lines.append("The run is not complete: `adcc-onnx evaluate ... --resume` continues it.")
    return lines


def failure_text(failure: FailedRow) -> str:
    method = "" if failure.method is None else f" ({failure.method})"
    return f"{failure.image}{method}: {failure.reason}"


def _row(run: RunSummary, name: str, shown: list[Score], counts: list[str]) -> list[str]:
    method = run.methods[name]
    cells = [_cell(run, name, score) for score in shown]
    return [name, *cells, *(str(getattr(method, count)) for count in counts), _time(method)]


def _cell(run: RunSummary, name: str, score: Score) -> str:
    """A figure; with its interval and mark where it ranks."""
    method, ranking = run.methods[name], run.ranking
    value = score.shown(method.scores.get(score.name))
    if ranking is None or ranking.score.name != score.name:
        return value
    tied = name in ranking.not_told_apart(run.resampling.confidence)
    interval = score.shown_interval(method.intervals.get(score.name))
    return " ".join(part for part in (value, interval, TIED if tied else " ") if part)


def _time(method: MethodSummary) -> str:
    if method.seconds is None:
        return "-"
    if method.seconds < 1:
        return f"{1000 * method.seconds:.3g} ms"
    return f"{method.seconds:.3g} s"


def _legend(run: RunSummary, ranking: Ranking) -> list[str]:
    title, confidence = ranking.score.title, run.resampling.confidence
    if ranking.score.name not in run.methods[ranking.best].intervals:
        return [f"Fewer than two images count in {title}: no intervals, and nothing is told apart."]
    share = f"{100 * confidence:.3g} %"
    lines = [f"[ ]: the {share} interval of {title}; time: of an image, with its metrics"]
    if ranking.not_told_apart(confidence):
        lines.append(
            f"{TIED}: not told apart from the best, {ranking.best} "
            f"(paired permutation test, Holm's p ≥ {1 - confidence:.2g})"
        )
    return lines
