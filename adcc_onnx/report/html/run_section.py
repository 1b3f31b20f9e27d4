"""The texts and tables of one run's section of the page."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.images.class_names import class_name
from adcc_onnx.report.anchor_text import anchor_cells, anchor_columns, anchor_legend
from adcc_onnx.report.result_rows import (
    OWN_TIME,
    doubts,
    format_seconds,
    headline,
    remarks,
    shown_counts,
    shown_scores,
)
from adcc_onnx.report.score_text import (
    column_heading,
    format_interval,
    format_score,
    format_with_interval,
    score_title,
)
from adcc_onnx.report.sequential_text import COLUMN_HELP, sequential_cells, sequential_columns
from adcc_onnx.report.text_table import safe
from adcc_onnx.report.verdict import verdict_sentences
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.ranking import Ranking
from adcc_onnx.results.run_details import RunDetails
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.results.subgroups import Subgroup

_MOST_FAILURES = 200
_COUNT_HELP = {
    "degenerate": ["Images whose map was constant; they count in the scores."],
    "failed": ["Images that the method failed on; they do not count in the scores."],
    "own time": [f"{OWN_TIME[:1].upper()}{OWN_TIME[1:]}."],
}


def run_section(id: str, result: EvaluationResult, details: RunDetails) -> dict[str, Any]:
    """Return what the template shows of one run.

    Args:
        id: Identifier of the section.
        result: The result of the run.
        details: Its details.
    """
    ranking = result.ranking
    scores, counts = shown_scores(result), shown_counts(result)
    order, controls = result.ranked
    curves = dict.fromkeys(c for m in result.methods.values() for c in m.curves)
    return {
        "id": id,
        "title": safe(result.model),
        "facts": safe(headline(result)),
        "verdict": [safe(text) for text in (*doubts(result), *verdict_sentences(result))],
        "columns": _columns(sequential_columns(result), scores, anchor_columns(result), counts),
        "groups": [
            {"controls": False, "rows": [_row(result, name, scores, counts) for name in order]},
            *_control_group(result, controls, scores, counts),
        ],
        "notes": [safe(note) for note in (*anchor_legend(result), *remarks(result))],
        "main_title": "" if ranking is None else score_title(ranking.score),
        "has_pairs": details.pairs is not None,
        "has_parts": bool(details.points),
        "curves": [{"name": name, "title": name.replace("_", " ")} for name in curves],
        "gallery": bool(result.shown),
        "gallery_note": _gallery_note(result),
        "subgroups": _subgroup_tables(result, details),
        "failures": [
            {
                "image": safe(f.image),
                "method": f.method and safe(f.method),
                "reason": safe(f.reason),
            }
            for f in result.failures[:_MOST_FAILURES]
        ],
        "more_failures": max(0, len(result.failures) - _MOST_FAILURES),
        "settings": _settings(result),
    }


def overview(results: Sequence[EvaluationResult]) -> list[dict[str, Any]]:
    """Return one row per method with its main score in each run; empty for a single run."""
    if len(results) < 2:
        return []
    names = dict.fromkeys(name for result in results for name in result.rows)
    return [
        {"title": safe(method_title(name)), "cells": [_main_cell(r, name) for r in results]}
        for name in names
    ]


def definitions(results: Sequence[EvaluationResult]) -> list[dict[str, str]]:
    """Return the definition of every metric of the runs."""
    metrics = {s.spec: s.metric for r in results for s in r.score_definitions.values()}
    return [
        {
            "title": f"{metric.title} ({spec})",
            "formula": (inspect.getdoc(type(metric)) or "").split("\n\n")[0],
            "limits": metric.limits,
            "direction": f"{'Higher' if metric.higher_is_better else 'Lower'} is better.",
        }
        for spec, metric in metrics.items()
    ]


def _columns(
    extra: Sequence[str],
    scores: Sequence[Score],
    anchors: Sequence[str],
    counts: Sequence[str],
) -> list[dict[str, Any]]:
    return [
        {"heading": "method", "help": []},
        *({"heading": name, "help": COLUMN_HELP[name]} for name in extra),
        *({"heading": column_heading(score), "help": _help(score)} for score in scores),
        *({"heading": name, "help": []} for name in anchors),
        *({"heading": name, "help": _COUNT_HELP[name]} for name in [*counts, "own time"]),
    ]


def _help(score: Score) -> list[str]:
    metric = score.metric
    summary = metric.summary[:1].upper() + metric.summary[1:]
    limits = f"What it does not say: {metric.limits}" if metric.limits else ""
    return [text for text in (f"{summary}." if summary else "", limits) if text]


def _control_group(
    result: EvaluationResult, names: Sequence[str], scores: Sequence[Score], counts: Sequence[str]
) -> list[dict[str, Any]]:
    rows = [_row(result, name, scores, counts) for name in names]
    return [{"controls": True, "rows": rows}] if rows else []


def _row(
    result: EvaluationResult, name: str, scores: Sequence[Score], counts: Sequence[str]
) -> dict[str, Any]:
    method = result.methods[name]
    cells: list[dict[str, Any]] = [
        {"text": text, "value": text} for text in sequential_cells(result, name)
    ]
    cells += [_cell(result, name, score) for score in scores]
    cells += [{"text": text, "value": text} for text in anchor_cells(result, name)]
    numbers = [getattr(method, count) for count in counts]
    cells += [{"text": str(number), "value": number} for number in numbers]
    cells.append({"text": format_seconds(method.seconds), "value": method.seconds})
    return {"title": safe(method_title(name)), "marks": _marks(result, name), "cells": cells}


def _cell(result: EvaluationResult, name: str, score: Score) -> dict[str, Any]:
    method = result.methods[name]
    value, interval = method.scores.get(score.name), method.intervals.get(score.name)
    cell = {
        "text": format_score(score, value),
        "value": value,
        "interval": format_interval(score, interval),
    }
    low, high = score.metric.value_range
    if value is None or interval is None or (low, high) != (0.0, 1.0):
        return cell
    ends = [max(0.0, min(100.0, 100.0 * end)) for end in (*interval, value)]
    width = max(0.5, ends[1] - ends[0])
    return {
        **cell,
        "bar": {"low": f"{ends[0]:.2f}", "width": f"{width:.2f}", "point": f"{ends[2]:.2f}"},
    }


def _marks(result: EvaluationResult, name: str) -> list[dict[str, str]]:
    ranking = result.ranking
    if ranking is None:
        return []
    marks = []
    if result.sequential is None and name in (result.not_significantly_worse or ()):
        meaning = f"not significantly different from the best, {method_title(ranking.best)}"
        marks.append({"text": "\u2248 best", "meaning": meaning})
    if name in (result.not_better_than_control or ()) and ranking.best_control:
        meaning = f"not significantly better than the control {method_title(ranking.best_control)}"
        marks.append({"text": "\u2264 control", "meaning": meaning})
    return marks


def _main_cell(result: EvaluationResult, name: str) -> str:
    ranking = result.ranking
    if ranking is None or name not in result.methods:
        return "\u2013"
    method, score = result.methods[name], ranking.score
    value, interval = method.scores.get(score.name), method.intervals.get(score.name)
    return format_with_interval(score, value, interval)


def _gallery_note(result: EvaluationResult) -> str:
    note = "Best, worst and median refer to the best method; disputed images differ most between "
    note += "the methods."
    shown = len(result.shown)
    if shown < result.images:
        note += f" {shown} of {result.images} images are shown: the same number of each kind."
    if not result.pictures.thumbnails:
        note += " The run kept no thumbnails, so only names and values are shown."
    return note


def _subgroup_tables(result: EvaluationResult, details: RunDetails) -> list[dict[str, Any]]:
    ranking = result.ranking
    if ranking is None:
        return []
    title = score_title(ranking.score)
    tables = [
        (
            f"{title} by confidence",
            "p(x)",
            details.confidences,
            "Ranges of the probability of the explained class.",
        ),
        (
            f"{title} by class",
            "class",
            details.classes,
            f"The {len(details.classes)} classes with the most images. Scores of few images "
            "vary a lot.",
        ),
    ]
    return [
        {
            "title": heading,
            "heading": first,
            "methods": [safe(method_title(name)) for name in result.rows],
            "rows": [_subgroup_row(result, ranking, group) for group in groups],
            "note": note,
        }
        for heading, first, groups, note in tables
        if len(groups) > 1
    ]


def _subgroup_row(result: EvaluationResult, ranking: Ranking, group: Subgroup) -> dict[str, Any]:
    if group.confidence is not None:
        low, high = group.confidence
        title = f"{100 * low:g} to {100 * high:g} %"
    else:
        title = class_name(result.stored_run.labels, group.explained_class or 0)
    found = [group.scores.get(name) for name in result.rows]
    cells = [{"text": format_score(ranking.score, value), "value": value} for value in found]
    return {"title": safe(title), "images": group.images, "cells": cells}


def _settings(result: EvaluationResult) -> list[tuple[str, str]]:
    config = result.stored_run.config
    rows = {key: value for key, value in config.items() if key != "labels"}
    rows["statistics"] = vars(result.resampling)
    return [(key, safe(_setting(value))) for key, value in sorted(rows.items())]


def _setting(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)
