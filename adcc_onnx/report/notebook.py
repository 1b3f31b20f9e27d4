"""Models, results and explanations as HTML for the cells of notebooks."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from adcc_onnx.rich_display import register_renderers

if TYPE_CHECKING:
    from adcc_onnx.explanation.explanations import Explanation, Explanations
    from adcc_onnx.model import Model
    from adcc_onnx.report.paper_table import Cell
    from adcc_onnx.results.evaluation_result import EvaluationResult

_SHOWN_EXPLANATIONS = 12
_WIDTH = 112  # pixels of a thumbnail


def register_displays() -> None:
    """Register the functions of this module and of `plots`; both import their libraries later."""
    register_renderers(
        "html",
        {
            "Model": model_html,
            "EvaluationResult": result_html,
            "Explanations": explanations_html,
            "Explanation": explanation_html,
        },
    )
    register_renderers("plot", {"EvaluationResult": _plot})


def model_html(model: Model) -> str:
    """Describe a model in a table."""
    height, width = model.size
    fused = f" (fused by {model.fuse})" if len(model.layers) > 1 else ""
    rows = {
        "input": f"{model.classifier.channels} x {height} x {width}",
        "classes": str(model.classifier.classes),
        "layer": ", ".join(layer.name for layer in model.layers) + fused,
        "device": model.device.name,
        "images per run": str(model.batch),
    }
    if model.preprocessing is None:
        rows["preprocessing"] = "not known: images must be given as tensors"
    cells = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th>'
        f'<td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<p><b>{_text(model.name)}</b></p><table>{cells}</table>"


def result_html(result: EvaluationResult) -> str:
    """Show the verdict and the ranked table of a result."""
    from adcc_onnx.report.paper_table import TableLayout, paper_tables
    from adcc_onnx.report.verdict import verdict_sentences

    (table,) = paper_tables([result], TableLayout())
    header = "".join(f"<th>{_text(heading)}</th>" for heading in table.header)
    groups = "".join(
        f"<tbody>{''.join(_row(title, cells) for title, cells in rows)}</tbody>"
        for rows in (table.methods, table.controls)
        if rows
    )
    notes = " ".join(map(_text, [*table.legend, *table.warnings]))
    return (
        f"<p>{_text(' '.join(verdict_sentences(result)))}</p>"
        f"<table><thead><tr>{header}</tr></thead>{groups}</table>"
        f"<p><small>{_text(table.settings)}<br>{notes}</small></p>"
    )


def explanations_html(explanations: Explanations) -> str:
    """Show the first overlays with their classes and probabilities."""
    shown = list(explanations)[:_SHOWN_EXPLANATIONS]
    figures = "".join(_figure([_overlay(one)], _caption(one)) for one in shown)
    more = len(explanations) - len(shown)
    rest = f"<p>and {more} more images</p>" if more else ""
    failed = "".join(
        f"<li>{_text(name)}: {_text(reason)}</li>" for name, reason in explanations.failures.items()
    )
    failures = f"<p>failed:</p><ul>{failed}</ul>" if failed else ""
    return f"<p>{_text(repr(explanations).strip('<>'))}</p><div>{figures}</div>{rest}{failures}"


def explanation_html(explanation: Explanation) -> str:
    """Show an image beside its overlay."""
    pictures = [picture for picture in (explanation.thumbnail,) if picture is not None]
    return _figure([*pictures, _overlay(explanation)], _caption(explanation))


def _plot(result: EvaluationResult, **options: Any) -> Any:
    from adcc_onnx.report.plots import plot_result

    return plot_result(result, **options)


def _row(title: str, cells: Sequence[Cell]) -> str:
    return f'<tr><td style="text-align:left">{_text(title)}</td>{"".join(map(_cell, cells))}</tr>'


def _cell(cell: Cell) -> str:
    value = f"<b>{_text(cell.value)}</b>" if cell.best else _text(cell.value)
    interval = f" <small>{_text(cell.interval)}</small>" if cell.interval else ""
    return f"<td>{value}{cell.marks}{interval}</td>"


def _caption(one: Explanation) -> str:
    degenerate = ", degenerate" if one.degenerate else ""
    return f"{one.name}: {one.class_name} {100 * one.probability:.1f} %{degenerate}"


def _overlay(one: Explanation) -> bytes:
    """Draw the overlay of an image as JPEG; the map alone if its picture is not known."""
    import cv2
    import numpy as np

    from adcc_onnx.report.overlay import overlay

    if one.thumbnail is None:
        picture = np.zeros((*one.map.shape, 3), np.uint8)
    else:
        encoded = np.frombuffer(one.thumbnail, np.uint8)
        picture = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    height, width = picture.shape[:2]
    heat = cv2.resize(one.map, (width, height), interpolation=cv2.INTER_AREA)
    drawn = cv2.cvtColor(overlay(picture, heat), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", drawn)[1].tobytes()


def _figure(pictures: Iterable[bytes], caption: str) -> str:
    images = "".join(
        f'<img width="{_WIDTH}" alt="{_text(caption)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'
        for picture in pictures
    )
    return (
        f'<figure style="display:inline-block;margin:4px">{images}'
        f'<figcaption style="max-width:{2 * _WIDTH}px"><small>{_text(caption)}</small></figcaption>'
        "</figure>"
    )


def _text(text: str) -> str:
    from adcc_onnx.report.text_table import safe

    return escape(safe(text))
