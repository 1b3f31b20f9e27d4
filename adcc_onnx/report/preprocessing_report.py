"""The report of `adcc-onnx check` as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adcc_onnx.report.result_rows import FEW_IMAGES
from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines, text_lines
from adcc_onnx.studies.preprocessing_check import CandidateResult, PreprocessingCheck

_SHOWN_WORSE = 6  # candidates in the table that do not fit
_SHOWN_FITTING = 12  # candidates in the table that fit
_SHOWN_NAMES = 4
_LOW_ACCURACY, _LOW_CONSISTENCY = 0.2, 0.2  # the latter in nats


def check_to_text(found: PreprocessingCheck, display: Display = PLAIN) -> str:
    """Write what fits, the table of the best candidates, and warnings.

    Args:
        found: The result of `adcc_onnx.check`.
        display: Where the text is shown.

    Returns:
        Text that ends in a newline.
    """
    fitting = [one for one in found.candidates if one.fits]
    worse = [one for one in found.candidates if not one.fits]
    shown = [
        *(one for i, one in enumerate(fitting) if i < _SHOWN_FITTING or one.given),
        *(one for i, one in enumerate(worse) if i < _SHOWN_WORSE or one.given),
    ]
    separated = sum(one.fits for one in shown)
    left = len(found.candidates) - len(shown)
    test = "of top-1 or of the likelihood of the labels" if found.labeled else "of the consistency"
    legend = [
        f"{left} more candidates are left out (--json lists them)." if left else "",
        f"p: p-value of the difference {test} from the best candidate, on the images of both",
        "" if found.labeled else "consistency: in nats, at most the logarithm of the classes",
        "* preprocessing of the card, or the one that was given" if found.given else "",
    ]
    lines = [
        *text_lines([_headline(found)], display, "title"),
        *text_lines(_conclusions(found, fitting), display),
        "",
        *table_lines(_table(found, shown, separated), display),
        *text_lines([text for text in legend if text], display, "legend"),
        *text_lines(_warnings(found), display, "warning"),
    ]
    return "".join(f"{line}\n" for line in lines)


def check_to_json(found: PreprocessingCheck) -> str:
    """Write the result as JSON; equal runs give equal bytes.

    Args:
        found: The result of `adcc_onnx.check`.
    """
    content = {
        "model": found.model,
        "layout": found.layout,
        "images": found.images,
        "failed": found.failed,
        "labeled": found.labeled,
        "label_offset": found.label_offset,
        "passes": found.passes,
        "candidates": [_candidate(one) for one in found.candidates],
        "warnings": _warnings(found),
    }
    return json.dumps(content, indent=2) + "\n"


def _candidate(one: CandidateResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "preprocessing": one.preprocessing.describe(),
        "images": one.images,
        "top1": one.top1,
        "interval": one.interval,
        "consistency": one.consistency,
        "confidence": one.confidence,
        "entropy": one.entropy,
        "p_value": one.p_value,
        "fits": one.fits,
        "given": one.given,
    }


def _headline(found: PreprocessingCheck) -> str:
    kind = "labeled images" if found.labeled else "images without labels"
    return (
        f"{found.model} · input {found.layout} · {found.images} {kind} · "
        f"{len(found.candidates)} candidates · {found.passes:,} images run through the model"
    )


def _conclusions(found: PreprocessingCheck, fitting: Sequence[CandidateResult]) -> list[str]:
    """Say what fits, and what cannot be distinguished from it."""
    best = found.best
    labeled = best.top1 is not None
    score = f"top-1 {100 * _score(best):.1f} %" if labeled else f"consistency {_score(best):.2f}"
    lines = [f"Best: {best.name} ({score})"]
    if any(_score(one) > _score(best) for one in fitting if one.images == best.images):
        lines.append("Others score more, but not significantly, so the usual one is preferred.")
    values = list(dict.fromkeys(one.values for one in fitting if one.values != best.values))
    lines.append(
        f"Pixel values: not significantly different from {best.values}: {_listed(values)}."
        if values
        else f"Pixel values: no others than {best.values} fit."
    )
    resizings = [one for one in fitting if one.values == best.values and one is not best]
    if resizings:
        lines.append(
            f"Resizing: {len(resizings)} other ways to resize, crop and interpolate are not "
            "significantly different."
        )
    if found.label_offset:
        lines.append(
            f"Labels: the index of the class is the label {found.label_offset:+d}; correct the "
            "labels before an evaluation."
        )
    given = found.given
    if given is not None:
        lines.append(_about_given(given, best))
    return lines


def _score(one: CandidateResult) -> float:
    """What candidates are ranked by."""
    return one.top1 if one.top1 is not None else one.consistency or 0.0


def _listed(names: Sequence[str]) -> str:
    """Join names; only the first ones of many."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} others" if more > 0 else "")


def _about_given(given: CandidateResult, best: CandidateResult) -> str:
    """Say whether the card's preprocessing is among the best ones."""
    if given == best:
        return "The preprocessing of the card is the best candidate."
    if given.fits:
        return "The preprocessing of the card is not significantly different from the best one."
    return (
        f"The preprocessing of the card does not fit (p = {given.p_value:.2g}): {given.name}. "
        "Write a new card with --write-card --force."
    )


def _table(found: PreprocessingCheck, shown: Sequence[CandidateResult], fitting: int) -> Table:
    score = ["top-1", "95 % interval"] if found.labeled else ["consistency"]
    columns = [
        Column("", left=True),
        Column("pixel values", left=True, names=True),
        Column("resizing", left=True, names=True),
        Column("interpolation", left=True),
        *(Column(name, drop=2 * i) for i, name in enumerate(score)),
        Column("confidence", drop=4),
        Column("images", drop=3),
        Column("p"),
    ]
    styles = ["best" if one is found.best else "tied" if one.fits else "" for one in shown]
    second = fitting if fitting < len(shown) else None
    return Table(columns, [_row(one) for one in shown], styles, second)


def _row(one: CandidateResult) -> list[str]:
    if one.interval is not None and one.top1 is not None:
        low, high = one.interval
        score = [f"{100 * one.top1:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"]
    else:
        score = [f"{_score(one):.2f}"]
    return [
        "*" if one.given else "",
        one.values,
        one.geometry,
        one.preprocessing.interpolation,
        *score,
        f"{100 * one.confidence:.1f}",
        str(one.images),
        "best" if one.p_value is None else f"{one.p_value:.2g}",
    ]


def _warnings(found: PreprocessingCheck) -> list[str]:
    """Return what makes the result uncertain."""
    best, warnings = found.best, []
    if found.failed:
        warnings.append(f"{found.failed} images could not be decoded.")
    if found.images < FEW_IMAGES:
        warnings.append(f"Only {found.images} images: give more, at least {FEW_IMAGES}.")
    if not found.labeled:
        warnings.append(
            "Without labels, candidates are ranked by how sure the model is, and by whether it "
            "predicts the same for mirrored images. A wrong preprocessing may win: give --labels."
        )
    if best.top1 is not None and best.top1 < _LOW_ACCURACY:
        warnings.append(
            f"Even the best candidate is right on only {100 * best.top1:.1f} % of the images: the "
            "model may need another preprocessing, or the order of its classes is another one."
        )
    if best.consistency is not None and best.consistency < _LOW_CONSISTENCY:
        warnings.append(
            "No candidate gives sure predictions that differ between images: the images may show "
            "one class only, or the model needs another preprocessing."
        )
    return warnings
