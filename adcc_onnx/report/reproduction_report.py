"""The report of `adcc-onnx reproduce` and the list of published scores, as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from adcc_onnx.metrics.metric_registry import get_metric
from adcc_onnx.published.networks import NETWORKS, method_name
from adcc_onnx.published.publications import PUBLICATIONS, WITHOUT_SETTINGS
from adcc_onnx.published.scores import PublishedRow
from adcc_onnx.report.json_format import json_text
from adcc_onnx.report.result_rows import FEW_IMAGES
from adcc_onnx.report.rounding import rounded, rounded_all
from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines, text_lines
from adcc_onnx.studies.reproduction import ReproducedScore, Reproduction, settings_of


def reproductions_to_text(found: Sequence[Reproduction], display: Display = PLAIN) -> str:
    """Write one block per setting: published scores, measured ones, and whether they agree.

    Args:
        found: The reproductions.
        display: Where the text is shown.
    """
    return "\n".join("".join(f"{line}\n" for line in _block(one, display)) for one in found)


def reproductions_to_json(found: Sequence[Reproduction]) -> str:
    """Write all reproductions; fractions in [0, 1], null where a number does not exist."""
    return json_text({"reproductions": [_record(one) for one in found]})


def published_to_text(rows: Sequence[PublishedRow], display: Display = PLAIN) -> str:
    """Write the settings of one publication, or an overview of several.

    Args:
        rows: The published rows.
        display: Where the text is shown.
    """
    names = list(dict.fromkeys(row.publication for row in rows))
    if len(names) == 1:
        lines = _settings_lines(names[0], rows, display)
    else:
        hint = (
            "adcc-onnx reproduce NAME --list shows the layers, scores and methods of each network"
        )
        lines = [*table_lines(_overview(rows), display), *text_lines([hint], display, "legend")]
    return "".join(f"{line}\n" for line in lines)


def published_to_json(rows: Sequence[PublishedRow]) -> str:
    """Write the published rows; fractions in [0, 1]."""
    return json_text({"published": [vars(row) for row in rows]})


def _overview(rows: Sequence[PublishedRow]) -> Table:
    """One line per publication."""
    columns = [
        Column("name", left=True),
        Column("publication", left=True, prose=True),
        Column("rows"),
        Column("networks", left=True, prose=True),
    ]
    cells = []
    for name in dict.fromkeys(row.publication for row in rows):
        own = [row for row in rows if row.publication == name]
        networks = ", ".join(dict.fromkeys(row.network for row in own))
        cells.append([name, PUBLICATIONS[name].title, str(len(own)), networks])
    return Table(columns, cells)


def _settings_lines(name: str, rows: Sequence[PublishedRow], display: Display) -> list[str]:
    """One line per network and setting of a publication, and what it states."""
    publication = PUBLICATIONS[name]
    facts = [
        f"source: {publication.source}",
        f"images: {publication.images}; target {publication.target}; protocol "
        f"{publication.protocol}",
        *publication.remarks,
    ]
    return [
        *text_lines([f"{name} · {publication.title}"], display, "title"),
        *table_lines(_published_table(rows), display),
        *text_lines(facts, display, "legend"),
    ]


def _published_table(rows: Sequence[PublishedRow]) -> Table:
    columns = [
        Column("network", left=True),
        Column("layer", left=True),
        Column("scores", left=True),
        Column("methods", left=True, prose=True),
        Column("export", left=True, drop=1),
    ]
    cells = []
    for network in dict.fromkeys(row.network for row in rows):
        lines = []
        for setting, own in settings_of([r for r in rows if r.network == network]).items():
            methods = ", ".join(sorted({row.method for row in own}))
            scores = "not stated" if own[0].table in WITHOUT_SETTINGS else setting.scores
            lines.append([setting.layer or "not stated", scores, methods])
        named = [network, NETWORKS[network].export or "your own file"]
        for line in sorted(lines):
            cells.append([named[0], *line, named[1]])
            named = ["", ""]  # the next lines are of the same network
    return Table(columns, cells)


def _block(found: Reproduction, display: Display) -> Iterator[str]:
    yield from text_lines([_headline(found)], display, "title")
    if found.problem:
        yield from text_lines([f"not measured: {found.problem}"], display, "warning")
        return
    columns = [
        Column("method", left=True, names=True),
        Column("score", left=True),
        Column("published"),
        Column("measured"),
        Column("interval", left=True),
        Column("inside", left=True),
        Column("table", left=True, drop=1),
    ]
    rows = [_row(score) for score in found.scores]
    styles = ["doubtful" if score.is_inside is False else "" for score in found.scores]
    yield from table_lines(Table(columns, rows, styles), display)
    yield from text_lines(_legend(found), display, "legend")
    yield from text_lines(_warnings(found), display, "warning")


def _headline(found: Reproduction) -> str:
    parts = [
        found.publication,
        found.network,
        found.setting.layer or "layer not stated",
        f"gradients of {found.setting.scores}",
        f"target {found.target}",
    ]
    if not found.problem:
        parts += [f"layer {found.layer}", f"{found.images:,} of {found.published_images:,} images"]
    if found.top1 is not None:
        parts.append(f"top-1 {100 * found.top1:.1f} %")
    return " · ".join(parts)


def _row(score: ReproducedScore) -> list[str]:
    inside = {True: "yes", False: "no", None: "-"}[score.is_inside]
    ends = "" if score.interval is None else f"[{', '.join(map(_percent, score.interval))}]"
    return [
        score.method,
        get_metric(score.score).title,
        f"{100 * score.published:.2f}",
        "-" if score.measured is None else _percent(score.measured),
        ends,
        inside,
        score.table,
    ]


def _percent(value: float) -> str:
    return f"{100 * value + 0.0:.2f}"


def _legend(found: Reproduction) -> list[str]:
    known = [score.is_inside for score in found.scores if score.is_inside is not None]
    if not known:
        return []
    return [
        f"{sum(known)} of {len(known)} published scores lie in the 95 % confidence intervals of "
        "the measured ones; 5 % of them lie outside by chance"
    ]


def _warnings(found: Reproduction) -> list[str]:
    lines = []
    if found.missing:
        lines.append(f"methods that adcc-onnx does not have: {', '.join(found.missing)}")
    if found.images < FEW_IMAGES:
        lines.append(f"{found.images} images are too few for reliable intervals")
    return lines + [f"note: {text}" for text in PUBLICATIONS[found.publication].remarks]


def _record(found: Reproduction) -> dict[str, Any]:
    return {
        "publication": found.publication,
        "network": found.network,
        "published_layer": found.setting.layer or None,
        "scores": found.setting.scores,
        "target": found.target,
        "layer": found.layer or None,
        "images": found.images,
        "published_images": found.published_images,
        "top1": found.top1,
        "missing_methods": found.missing,
        "problem": found.problem or None,
        "results": [
            {
                "method": score.method,
                "adcc_onnx_method": method_name(score.method),
                "table": score.table,
                "score": score.score,
                "published": score.published,
                "measured": None if score.measured is None else rounded(score.measured),
                "interval": None if score.interval is None else rounded_all(score.interval),
                "inside": score.is_inside,
            }
            for score in found.scores
        ],
    }
