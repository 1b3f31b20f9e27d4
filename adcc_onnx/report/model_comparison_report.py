"""The report of `adcc-onnx compare-models` as text and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from adcc_onnx.report.json_format import json_text
from adcc_onnx.report.result_rows import FEW_IMAGES
from adcc_onnx.report.rounding import rounded, rounded_all
from adcc_onnx.report.score_text import format_interval, format_score, score_title
from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines, text_lines
from adcc_onnx.statistics.paired_tests import PairedDifference
from adcc_onnx.studies.layer_walk import LayerDifference
from adcc_onnx.studies.model_comparison import MapDifference, ModelComparison, ScoreDifference

_AROUND = 2  # layers that the table shows before and after the parting
_WORTH_NAMING = 3.0  # ratio of a layer's difference to the one that it inherits


def verdict(found: ModelComparison) -> list[str]:
    """Return the result of a comparison in sentences.

    Args:
        found: The comparison.

    Returns:
        One sentence if the models do not differ beyond rounding; otherwise one each for the
        outputs, the layers, the maps and the scores.
    """
    pair = f"{found.first} and {found.second}"
    if found.is_equal:
        return [f"no difference: {pair} agree on {_images(found.images)}{_precision(found)}"]
    lines = [_outputs_sentence(found, pair)]
    lines += _walk_sentences(found)
    lines += _map_sentences(found.maps)
    lines += _score_sentences(found.scores)
    return lines


def comparison_to_text(found: ModelComparison, display: Display = PLAIN) -> str:
    """Write the verdict and, if the models differ, the tables of scores, maps and layers.

    Args:
        found: The comparison.
        display: Where the text is shown.
    """
    return "".join(f"{line}\n" for line in _lines(found, display))


def comparison_to_json(found: ModelComparison, limit: float | None = None) -> str:
    """Write the comparison; fractions in [0, 1], null where a number does not exist.

    Args:
        found: The comparison.
        limit: The largest accepted difference; None if there is none.
    """
    parting, step = found.walk.parting, found.walk.largest_step
    content = {
        "first": found.first,
        "second": found.second,
        "layers": list(found.layers),
        "images": found.images,
        "failed": len(found.failures),
        "target": found.target,
        "confidence": rounded(found.confidence),
        "verdict": verdict(found),
        "equal": found.is_equal,
        "notes": found.notes,
        "outputs": {
            "largest_probability_difference": _number(found.outputs.largest),
            "mean_probability_difference": _number(found.outputs.mean),
            "probability": _difference(found.outputs.probability),
            "same_prediction": found.outputs.same_prediction,
        },
        "parting": None if parting is None else parting.first,
        "largest_step": None if step is None else step.first,
        "rounding": found.walk.rounding,
        "walk": [_layer_record(one) for one in found.walk.layers],
        "maps": {one.method: _map_record(one) for one in found.maps},
        "scores": _scores_record(found.scores),
    }
    if limit is not None:
        content |= {"fail_over": limit, "exceeding": found.exceeding(limit)}
    return json_text(content)


def _lines(found: ModelComparison, display: Display) -> Iterator[str]:
    yield from text_lines(verdict(found), display, "title")
    if found.failures:
        reasons = [f"{name}: {reason}" for name, reason in list(found.failures.items())[:5]]
        skipped = f"{_images(len(found.failures))} could not be compared: {'; '.join(reasons)}"
        yield from text_lines([skipped], display, "warning")
    yield from text_lines(found.notes, display, "warning")
    if found.is_equal:
        return
    if found.images < FEW_IMAGES:
        few = f"{_images(found.images)} are too few for reliable intervals"
        yield from text_lines([few], display, "warning")
    tables = [_score_table(found), _map_table(found.maps), _layer_table(found)]
    for table in tables:
        if table.rows:
            yield ""
            yield from table_lines(table, display)
    legend = [
        f"difference: {found.second} minus {found.first}, paired by image; the intervals hold "
        f"together with {100 * (1 - _error(found)):.3g} % confidence",
        "layers: median over the images of ||b - a|| / ||a||; JSON lists all layers",
    ]
    yield from text_lines(legend, display, "legend")


def _error(found: ModelComparison) -> float:
    """Return the probability that any of the intervals fails, at most."""
    return min(1.0, (1.0 - found.confidence) * (len(found.scores) + 1))


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _precision(found: ModelComparison) -> str:
    """Say how closely the models agree; nothing if they are exactly equal."""
    parts = [("probabilities", found.outputs.largest)]
    if found.walk.layers:
        worst = max(one.activation for one in found.walk.layers)
        parts.append((f"{len(found.walk.layers)} layers", worst))
    if found.maps:
        parts.append(("maps", max(one.mean for one in found.maps)))
    if all(size == 0.0 for _, size in parts):
        return ""
    return f" ({', '.join(f'{name} to {size:.1g}' for name, size in parts)})"


def _outputs_sentence(found: ModelComparison, pair: str) -> str:
    outputs, shift = found.outputs, found.outputs.probability
    change = f"{_points(shift.value)} {_interval_text(shift)}".strip()
    return (
        f"{pair} predict the same class for {outputs.same_prediction} of "
        f"{_images(found.images)}; the probability of the explained class changes by {change} "
        f"points on average ({_points(outputs.mean, '')} in absolute value)"
    )


def _points(value: float, sign: str = "+") -> str:
    return f"{100.0 * value + 0.0:{sign}.2f}"


def _interval_text(difference: PairedDifference) -> str:
    ends = difference.interval
    return "" if ends is None else f"[{_points(ends[0])}, {_points(ends[1])}]"


def _walk_sentences(found: ModelComparison) -> list[str]:
    walk, parting, step = found.walk, found.walk.parting, found.walk.largest_step
    if not walk.layers:
        return []
    if parting is None or step is None:
        return [
            f"the activations of all {len(walk.layers)} matched layers agree within rounding "
            f"({walk.rounding:.0e})"
        ]
    number = walk.layers.index(parting)
    before = "no matched layer lies before it"
    if number:
        worst = max(one.activation for one in walk.layers[:number])
        agree = f"agree to {_percent(worst)}" if worst else "are equal"
        before = f"the {number} matched layers before it {agree}"
    lines = [
        f"the graphs diverge at {_layer_name(parting)}: its activations differ by "
        f"{_percent(parting.activation)}{_factor(parting)}; {before}"
    ]
    if step is not parting and walk.step(step) >= _WORTH_NAMING:
        lines.append(
            f"the largest step is at {_layer_name(step)}: from {_percent(step.inherited)} to "
            f"{_percent(step.activation)}{_factor(step)}"
        )
    return lines


def _layer_name(layer: LayerDifference) -> str:
    other = "" if layer.second == layer.first else f" ('{layer.second}')"
    return f"layer '{layer.first}'{other}"


def _percent(value: float) -> str:
    return f"{100.0 * value:.3g} %" if math.isfinite(value) else "infinitely much"


def _factor(layer: LayerDifference) -> str:
    return "" if layer.factor is None else f" (they are {layer.factor:.4g} times as large)"


def _map_sentences(maps: Sequence[MapDifference]) -> list[str]:
    known = [one for one in maps if one.images]
    if not known:
        return []
    worst = max(known, key=lambda one: one.mean)
    return [
        f"the maps differ most for {worst.method}: by {_points(worst.mean, '')} points on average, "
        f"with a correlation of {worst.correlation:.4f} (lowest {worst.lowest:.4f})"
    ]


def _score_sentences(scores: Sequence[ScoreDifference]) -> list[str]:
    fractions = [one for one in scores if one.score.is_fraction] or list(scores)
    if not fractions:
        return []
    significant = [one for one in scores if one.is_significant]
    worst = max(significant or fractions, key=lambda one: abs(one.difference.value))
    text = (
        f"{score_title(worst.score)} of {worst.method}, from "
        f"{format_score(worst.score, worst.first)} to {format_score(worst.score, worst.second)} "
        f"({_change(worst)})"
    )
    if not significant:
        return [f"no score differs significantly; the largest difference is in {text}"]
    return [
        f"{len(significant)} of {len(scores)} scores differ significantly; the largest of these "
        f"differences is in {text}"
    ]


def _change(one: ScoreDifference) -> str:
    change = format_score(one.score, one.difference.value, "+")
    return f"{change} {format_interval(one.score, one.difference.interval, '+')}".strip()


def _score_table(found: ModelComparison) -> Table:
    columns = [
        Column("method", left=True, names=True),
        Column("score", left=True),
        Column(found.first, names=True),
        Column(found.second, names=True),
        Column("difference", left=True),
        Column("", left=True, drop=1),
    ]
    rows = [
        [
            one.method,
            score_title(one.score),
            format_score(one.score, one.first),
            format_score(one.score, one.second),
            _change(one),
            "significant" if one.is_significant else "",
        ]
        for one in found.scores
    ]
    return Table(columns, rows, ["doubtful" if one.is_significant else "" for one in found.scores])


def _map_table(maps: Sequence[MapDifference]) -> Table:
    columns = [
        Column("maps", left=True, names=True),
        Column("images", drop=2),
        Column("correlation"),
        Column("lowest"),
        Column("mean difference"),
        Column("largest", drop=1),
    ]
    rows = [
        [
            one.method,
            str(one.images),
            f"{one.correlation:.4f}",
            f"{one.lowest:.4f}",
            _points(one.mean, ""),
            _points(one.largest, ""),
        ]
        for one in maps
        if one.images
    ]
    return Table(columns, rows)


def _layer_table(found: ModelComparison) -> Table:
    walk = found.walk
    columns = [
        Column("layer", left=True, names=True),
        Column("matched by", left=True, drop=2),
        Column("activations"),
        Column("gradients"),
        Column("", left=True, drop=1),
    ]
    shown = _shown_layers(found)
    rows = [
        [
            layer.first,
            layer.by,
            _percent(layer.activation),
            "-" if layer.gradient is None else _percent(layer.gradient),
            _remark(found, layer),
        ]
        for layer in (walk.layers[number] for number in shown)
    ]
    return Table(columns, rows)


def _shown_layers(found: ModelComparison) -> list[int]:
    """Return the numbers of the layers around the parting and the largest step, and the last."""
    layers = found.walk.layers
    chosen = {len(layers) - 1} if layers else set()
    for one in (found.walk.parting, found.walk.largest_step):
        if one is not None:
            place = layers.index(one)
            chosen |= set(range(place - _AROUND, place + _AROUND + 1))
    return sorted(chosen & set(range(len(layers))))


def _remark(found: ModelComparison, layer: LayerDifference) -> str:
    if layer is found.walk.parting:
        return "the graphs diverge here"
    return "largest step" if layer is found.walk.largest_step else ""


def _number(value: float) -> float | None:
    return rounded(value) if math.isfinite(value) else None


def _difference(difference: PairedDifference) -> dict[str, Any]:
    ends = difference.interval
    return {
        "difference": _number(difference.value),
        "interval": None if ends is None else rounded_all(ends),
    }


def _layer_record(layer: LayerDifference) -> dict[str, Any]:
    return {
        name: _number(value) if isinstance(value, float) else value
        for name, value in asdict(layer).items()
    }


def _map_record(one: MapDifference) -> dict[str, Any]:
    return {
        name: _number(value) if isinstance(value, float) else value
        for name, value in asdict(one).items()
        if name != "method"
    }


def _scores_record(scores: Sequence[ScoreDifference]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in scores:
        found.setdefault(one.method, {})[one.score.name] = {
            "first": _number(one.first),
            "second": _number(one.second),
            **_difference(one.difference),
        }
    return found
