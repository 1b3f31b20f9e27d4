"""The report of `adcc-onnx inspect` for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines, text_lines


def inspection_to_text(found: dict[str, Any], display: Display = PLAIN) -> str:
    """Write a description of a model file.

    Args:
        found: Result of `adcc_onnx.inspect`.
        display: Where the text is shown.

    Returns:
        Text that ends in a newline.
    """
    facts = [
        _opset(found),
        *_ends("input", found["inputs"]),
        *_ends("output", found["outputs"]),
        _image(found["image"]),
        _scores(found["scores"]),
    ]
    default = [f"* default layer: {found['default']['reason']}"] if found["default"] else []
    remarks = [
        *(
            f"no gradient through {o['operator']} (node '{o['node']}'): {o['reason']}"
            for o in found["unsupported_operators"]
        ),
        *(f"note: {note}" for note in found["notes"]),
    ]
    lines = [
        *text_lines(facts, display),
        "",
        *_layers(found["layers"], found["default"], display),
        "",
        *text_lines(default, display, "title"),
        *text_lines(remarks, display, "warning"),
    ]
    return "".join(f"{line}\n" for line in lines)


def _opset(found: dict[str, Any]) -> str:
    versions = [] if found["opset"] is None else [f"opset {found['opset']}"]
    versions += [f"{domain} {version}" for domain, version in found["domains"].items()]
    return f"{', '.join(versions) or 'opset unknown'}: {found['nodes']} nodes"


def _ends(what: str, values: Iterable[dict[str, Any]]) -> list[str]:
    return [f"{what} {v['name']}: {v['type']}{_shape(v['shape'])}" for v in values]


def _shape(dims: Sequence[Any] | None) -> str:
    return "" if dims is None else f" [{', '.join('?' if d is None else str(d) for d in dims)}]"


def _image(image: dict[str, Any]) -> str:
    size = "of any size" if image["size"] is None else " x ".join(str(s) for s in image["size"])
    return f"image: {image['name']}, {image['layout']}, {size}"


def _scores(scores: dict[str, Any]) -> str:
    text = f"scores: {scores['output']}, {scores['kind']} of {scores['classes']} classes"
    return text if scores["logits"] == scores["output"] else f"{text}; logits: {scores['logits']}"


def _layers(
    layers: Sequence[dict[str, Any]], default: dict[str, Any] | None, display: Display
) -> list[str]:
    if not layers:
        return ["no layer can be turned into a map"]
    # The name is the last column: some exporters write very long names.
    columns = [
        Column("", left=True),
        Column("kind", left=True, drop=3),
        Column("channels", drop=2),
        Column("map"),
        Column("gradient", drop=1),
        Column("module", left=True, names=True),
        Column("layer", left=True, names=True),
    ]
    rows = [
        [
            "*" if default and layer["name"] == default["name"] else "",
            f"{layer['kind']} {layer['layout']}",
            str(layer["channels"]),
            " x ".join(str(side) for side in layer["grid"])
            + (f" (+ {layer['prefix_tokens']})" if layer["prefix_tokens"] else ""),
            "yes" if layer["differentiable"] else "no",
            layer["module"] or "",
            layer["name"],
        ]
        for layer in layers
    ]
    styles = ["best" if row[0] else "" for row in rows]
    return table_lines(Table(columns, rows, styles), display)
