"""Plots of results with matplotlib: scores with their intervals, curves, and images as points."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.report.score_text import column_heading, score_title
from adcc_onnx.results.curve_fractions import curve_fractions
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.score_definitions import Score, main_score

KINDS = ("bars", "curves", "scatter")
# Okabe and Ito's colors, which people with any color vision can tell apart.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_CONTROL = "#999999"
_NORMAL_QUANTILE = 1.96  # of a band that holds the mean curve with 95 %


def plot_result(
    result: EvaluationResult,
    kind: str = "bars",
    score: str | None = None,
    x: str = "average_drop",
    y: str = "coherency",
    ax: Any = None,
) -> Any:
    """Draw a result; see `EvaluationResult.plot`."""
    if kind not in KINDS:
        raise OptionError(
            f"there is no plot '{kind}'{did_you_mean(kind, KINDS)} (plots: {', '.join(KINDS)})"
        )
    draw = {"bars": _bars, "curves": _curves}.get(kind)
    if draw is None:
        names = [_known(name, _columns(result), "value per image") for name in (x, y)]
        return _scatter(result, names, _axes(ax))
    return draw(result, score, ax)


def _bars(result: EvaluationResult, name: str | None, ax: Any) -> Any:
    known = result.score_definitions
    score = main_score(known) if name is None else known[_known(name, list(known), "score")]
    axes = _axes(ax)
    names = [n for n in result.rows if score.name in result.methods[n].scores]
    scale = 100.0 if score.is_fraction else 1.0
    values = scale * np.array([result.methods[n].scores[score.name] for n in names])
    ends = [result.methods[n].intervals.get(score.name) for n in names]
    places = np.arange(len(names))[::-1]
    errors = np.zeros((2, len(names)))
    for i, interval in enumerate(ends):
        if interval is not None:
            low, high = scale * interval[0], scale * interval[1]
            errors[:, i] = max(0.0, values[i] - low), max(0.0, high - values[i])
    controls = result.stored_run.controls
    colors = [_CONTROL if n in controls else _COLORS[0] for n in names]
    axes.barh(places, values, xerr=errors, color=colors, capsize=3)
    axes.set_yticks(places, [method_title(n) for n in names])
    percent = " in %" if score.is_fraction else ""
    confidence = f"{100 * result.resampling.confidence:.3g} % interval"
    axes.set_xlabel(f"{column_heading(score)}{percent}, with its {confidence}")
    axes.set_title(f"{result.model}, {result.scored} images; gray: controls")
    return axes


def _curves(result: EvaluationResult, name: str | None, ax: Any) -> Any:
    known = list(dict.fromkeys(c for method in result.methods.values() for c in method.curves))
    if not known:
        raise OptionError("the result has no curves: evaluate insertion, deletion or road")
    curve = known[0] if name is None else _known(name, known, "curve")
    axes = _axes(ax)
    for method, color, style in _styles(result):
        found = result.methods[method]
        if curve not in found.curves:
            continue
        mean = np.array(found.curves[curve])
        error = _NORMAL_QUANTILE * np.array(found.curve_errors[curve])
        at = curve_fractions(curve, len(mean))
        axes.plot(at, mean, style, color=color, label=method_title(method))
        axes.fill_between(at, mean - error, mean + error, color=color, alpha=0.15, linewidth=0)
    axes.set_xlabel("fraction of the pixels")
    axes.set_ylabel("probability of the explained class")
    score = result.score_definitions.get(curve)
    axes.set_title(f"{_title(score, curve)} of {result.model}; bands: 95 % intervals of the mean")
    axes.legend()
    return axes


def _scatter(result: EvaluationResult, names: Sequence[str], axes: Any) -> Any:
    for method, color, style in _styles(result):
        values = result.stored_run.methods[method].values
        if all(name in values for name in names):
            marker = "o" if style == "-" else "x"
            points = [values[name] for name in names]
            axes.scatter(*points, s=14, c=color, marker=marker, label=method_title(method))
    titles = [_title(result.score_definitions.get(name), name) for name in names]
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    axes.set_title(f"Images of {result.model}")
    axes.legend()
    return axes


def _styles(result: EvaluationResult) -> list[tuple[str, str, str]]:
    """Return the name, color and line style of each method; controls are gray and dashed."""
    controls = result.stored_run.controls
    ranked = [name for name in result.rows if name not in controls]
    found = [(n, _COLORS[i % len(_COLORS)], "-") for i, n in enumerate(ranked)]
    dashes = ("--", ":", "-.")
    others = [name for name in result.rows if name in controls]
    return found + [(n, _CONTROL, dashes[i % len(dashes)]) for i, n in enumerate(others)]


def _columns(result: EvaluationResult) -> list[str]:
    found = [name for method in result.stored_run.methods.values() for name in method.values]
    return list(dict.fromkeys(found))


def _title(score: Score | None, name: str) -> str:
    return name.replace("_", " ") if score is None else score_title(score)


def _known(name: str, known: Sequence[str], what: str) -> str:
    if name not in known:
        raise OptionError(
            f"there is no {what} '{name}'{did_you_mean(name, known)} ({what}s: {', '.join(known)})"
        )
    return name


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    try:
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise OptionError('plots need matplotlib: pip install "adcc-onnx[plot]"') from None
    return pyplot.subplots(figsize=(7, 4), layout="constrained")[1]
