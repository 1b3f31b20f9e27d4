"""The data of one run's charts and gallery, as the page's scripts read it."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.images.class_names import class_name
from adcc_onnx.metrics.metric import CompositeMetric
from adcc_onnx.report.score_text import score_title
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.curve_fractions import curve_fractions
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.notable_images import KINDS
from adcc_onnx.results.pairwise import Pairwise
from adcc_onnx.results.ranking import method_values
from adcc_onnx.results.rows import ImageRow
from adcc_onnx.results.run_details import (
    RunDetails,
    explained_classes,
    values_by_position,
)
from adcc_onnx.results.score_definitions import Score

_DIGITS = 4
_MOST_CURVE_POINTS = 57


def chart_data(id: str, result: EvaluationResult, details: RunDetails) -> dict[str, Any]:
    """Return the data of one run.

    Args:
        id: Identifier of the run's section.
        result: The result of the run.
        details: Its details.
    """
    ranking, run = result.ranking, result.stored_run
    names = result.rows
    scores = {name: _score(score) for name, score in result.score_definitions.items()}
    main = next(iter(scores)) if ranking is None else ranking.score.name
    return {
        "id": id,
        "alpha": 1.0 - result.resampling.confidence,
        "main": {"name": main, **scores[main]},
        "methods": [
            {"name": name, "title": safe(method_title(name)), "control": name in run.controls}
            for name in names
        ],
        "columns": _columns(result),
        "values": {name: _values(result, name) for name in names},
        "seconds": {name: result.methods[name].seconds for name in names},
        "passes": {name: result.methods[name].passes for name in names},
        "ranks": _ranks(details),
        "pairs": None if details.pairs is None else _pairs(details.pairs),
        "points": {
            name: {"images": details.point_positions[name].tolist(), **_rounded_parts(parts)}
            for name, parts in details.points.items()
        },
        "names": _names(result, details),
        "distributions": {
            method: {name: [_rounded(v) for v in vars(box).values()] for name, box in parts.items()}
            for method, parts in details.boxes.items()
        },
        "curves": _curves(result),
        "kinds": [kind for kind in KINDS if any(kind in kinds for kinds in result.shown.values())],
        "labels": {
            str(index): safe(class_name(run.labels, index))
            for index in explained_classes(
                [r for r in result.image_rows if r.position in result.shown]
            )
        },
        "fill": _fill(run.config),
        "images": _images(result),
    }


def _score(score: Score) -> dict[str, Any]:
    higher = score.metric.higher_is_better
    return {"title": score_title(score), "percent": score.is_fraction, "higher": higher}


def _columns(result: EvaluationResult) -> dict[str, Any]:
    """Describe the values of the metrics, and of the parts of composite metrics."""
    metrics = {score.spec: score.metric for score in result.score_definitions.values()}
    parts = [p for m in metrics.values() if isinstance(m, CompositeMetric) for p in m.parts]
    metrics = {**{part.name: part for part in parts}, **metrics}
    return {name: _score(Score(name, name, metric)) for name, metric in metrics.items()}


def _values(result: EvaluationResult, name: str) -> dict[str, list[float | None]]:
    method = result.methods[name]
    return {
        score: [value, *method.intervals.get(score, (None, None))]
        for score, value in method.scores.items()
    }


def _ranks(details: RunDetails) -> dict[str, Any] | None:
    found = details.ranks
    if found is None:
        return None
    return {
        "names": details.ranked,
        "ranks": [_rounded(rank) for rank in found.ranks.tolist()],
        "critical": found.critical_difference,
        "groups": found.groups,
    }


def _pairs(found: Pairwise) -> dict[str, Any]:
    cells = [
        [i, j, one.value, *(one.interval or (one.value, one.value)), found.p_values[i, j]]
        for (i, j), one in found.differences.items()
        if not math.isnan(one.value)
    ]
    return {"names": found.names, "cells": cells}


def _rounded_parts(parts: dict[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    return {name: [_rounded(v) for v in values.tolist()] for name, values in parts.items()}


def _names(result: EvaluationResult, details: RunDetails) -> dict[str, str]:
    """Return the names of the images of the scatter plots, by position."""
    shown = {int(p) for positions in details.point_positions.values() for p in positions}
    return {str(r.position): safe(r.name) for r in result.image_rows if r.position in shown}


def _curves(result: EvaluationResult) -> dict[str, Any]:
    from scipy.special import ndtri

    width = float(ndtri(0.5 + result.resampling.confidence / 2.0))
    names = dict.fromkeys(name for method in result.methods.values() for name in method.curves)
    found: dict[str, Any] = {}
    for name in names:
        curved = {m: v for m, v in result.methods.items() if name in v.curves}
        points = len(next(iter(curved.values())).curves[name])
        chosen = np.unique(np.linspace(0, points - 1, min(points, _MOST_CURVE_POINTS)).round())
        at = chosen.astype(np.int64)
        found[name] = {
            "x": [_rounded(x) for x in curve_fractions(name, points)[at].tolist()],
            "methods": {
                method: _band(
                    np.array(v.curves[name])[at], np.array(v.curve_errors[name])[at], width
                )
                for method, v in curved.items()
            },
        }
    return found


def _band(
    mean: NDArray[np.float64], error: NDArray[np.float64], width: float
) -> dict[str, list[float]]:
    ends = {"mean": mean, "low": mean - width * error, "high": mean + width * error}
    return {key: [_rounded(v) for v in values.tolist()] for key, values in ends.items()}


def _images(result: EvaluationResult) -> list[dict[str, Any]]:
    by_position = values_by_position(method_values(result.stored_run), result.shown)
    failures: dict[str, dict[str, str]] = {}
    for failure in result.failures:
        failures.setdefault(failure.image, {})[failure.method or ""] = safe(failure.reason)
    return [
        _image(result, row, result.shown[row.position], by_position, failures.get(row.name, {}))
        for row in result.image_rows
        if row.position in result.shown
    ]


def _image(
    result: EvaluationResult,
    row: ImageRow,
    kinds: list[str],
    values: dict[str, Any],
    failures: dict[str, str],
) -> dict[str, Any]:
    pictures, at = result.pictures, row.position
    thumbnail = pictures.thumbnails.get(at)
    return {
        "position": at,
        "name": safe(row.name),
        "target": row.target,
        "predicted": row.predicted,
        "label": row.label,
        "probability": row.probability,
        "kinds": kinds,
        "thumbnail": None if thumbnail is None else base64.b64encode(thumbnail).decode(),
        "maps": {name: _map(maps[at]) for name, maps in pictures.maps.items() if at in maps},
        "values": {
            name: {key: _rounded(value) for key, value in found[at].items()}
            for name, found in values.items()
            if at in found
        },
        "masked": {
            name: _rounded(found[at])
            for name, found in pictures.masked_probabilities.items()
            if at in found
        },
        "failures": failures,
    }


def _map(heat: NDArray[np.float16]) -> list[Any]:
    """Return height, width and one byte per value, base64."""
    levels = np.round(heat.astype(np.float32) * 255.0).astype(np.uint8)
    return [*heat.shape, base64.b64encode(levels.tobytes()).decode()]


def _fill(config: dict[str, Any]) -> list[int]:
    """Return the color of fully masked pixels, RGB in 0..255."""
    steps = config.get("preprocessing") or {}
    if config.get("fill") == "black" or not steps.get("mean"):
        return [0, 0, 0]
    mean = [min(255, max(0, round(value * steps["scale"]))) for value in steps["mean"]]
    ordered = mean[::-1] if steps.get("channels") == "BGR" else mean
    return ordered if len(ordered) == 3 else [ordered[0]] * 3


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
