"""Draws the graph of a tiny exposed model for the page "A gradient is just more graph".

`python docs/_figures/exposed_graph.py` writes docs/images/exposed-graph.svg. The operators are read
from the exposed model, so the picture shows the graph that adcc-onnx builds.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import onnx

import adcc_onnx as adcc

PICTURE = Path(__file__).parents[1] / "images" / "exposed-graph.svg"
TINY = """
<ir_version: 10, opset_import: ["": 18]>
tiny (float[batch, 1, 4, 4] image) => (float[batch, 2] scores) {
    features = Conv <pads = [1, 1, 1, 1]> (image, kernel)
    active = Relu (features)
    pooled = GlobalAveragePool (active)
    vector = Flatten (pooled)
    scores = MatMul (vector, weight)
}
"""
# What the operators of the backward part compute, from the scores back to the layer.
MEANINGS = (
    "1 at the class",
    "times weightᵀ",
    "to [batch, 2, 1, 1]",
    "times 1/16",
    "0 where active ≤ 0",
)
STEP, WIDTH, HEIGHT, UPPER, LOWER = 168, 140, 54, 78, 208
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1f24; text-anchor: middle }
.op { font-weight: 600 } .note { font-size: 12px; fill: #4b5563 }
.model { fill: #dbeafe; stroke: #1d4ed8 } .added { fill: #fef3c7; stroke: #b45309 }
.io { font-weight: 600; fill: #111827 } .row { font-size: 12px; text-anchor: start; fill: #4b5563 }
line { stroke: #374151; stroke-width: 1.5 } .reads { stroke-dasharray: 4 3 }
"""


def tiny_model() -> onnx.ModelProto:
    """Build a model of five nodes: a convolution, ReLU, pooling, and a linear layer."""
    model = onnx.parser.parse_model(TINY)
    rng = np.random.default_rng(0)
    for name, shape in (("kernel", (2, 1, 3, 3)), ("weight", (2, 2))):
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def operators() -> tuple[list[tuple[str, str]], list[str]]:
    """Return the nodes of the model (operator, output) and the operators of the backward part."""
    exposed = adcc.expose(tiny_model(), layers=["features"])
    by_output = {node.output[0]: node for node in exposed.graph.node}
    own = [(n.op_type, n.output[0]) for n in exposed.graph.node[: len(tiny_model().graph.node)]]
    backward, name = [], by_output["features.gradient"].input[0]
    while name in by_output:  # from the layer to the scores, along the value that is multiplied
        node = by_output[name]
        backward.append(node.op_type)
        if node.op_type == "OneHot":
            break
        name = node.input[1] if node.op_type == "Where" else node.input[0]
    return own, backward[::-1]


def box(column: float, y: int, title: str, note: str, kind: str) -> str:
    """Return one node with its operator and a note below it."""
    x, middle = column * STEP, column * STEP + WIDTH / 2
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        f'<text class="op" x="{middle}" y="{y + 23}">{escape(title)}</text>'
        f'<text class="note" x="{middle}" y="{y + 41}">{escape(note)}</text>'
    )


def arrow(x1: float, y1: float, x2: float, y2: float, kind: str = "") -> str:
    """Return an arrow between two points."""
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" marker-end="url(#head)"/>'


def between(column: int, y: int, forward: bool) -> str:
    """Return the arrow between a column and the next one, in the middle of a row."""
    left, right = column * STEP + WIDTH + 2, (column + 1) * STEP - 3
    middle = y + HEIGHT / 2
    return arrow(left, middle, right, middle) if forward else arrow(right, middle, left, middle)


def name(column: float, y: float, text: str) -> str:
    """Return the name of an input or output in place of a node."""
    return f'<text class="io" x="{column * STEP + WIDTH / 2}" y="{y}">{escape(text)}</text>'


def draw() -> str:
    """Return the picture as SVG."""
    own, backward = operators()
    parts = [name(0, UPPER + 31, "image"), name(6, UPPER + 31, "scores")]
    parts += [
        name(7, LOWER + 31, "target"),
        name(1, LOWER + 22, "features"),
        name(1, LOWER + 40, ".gradient"),
    ]
    parts += [box(1 + i, UPPER, op, output, "model") for i, (op, output) in enumerate(own)]
    parts += [box(6 - i, LOWER, op, MEANINGS[i], "added") for i, op in enumerate(backward)]
    parts += [between(i, UPPER, forward=True) for i in range(6)]
    parts += [between(i, LOWER, forward=False) for i in range(1, 7)]
    for column in (2, 6):  # Relu's output decides where its gradient is 0; the scores, the class
        middle = column * STEP + WIDTH / 2
        start = UPPER + (HEIGHT + 3 if column == 2 else 40)
        parts.append(arrow(middle, start, middle, LOWER - 3, "reads"))
    middle = STEP + WIDTH / 2
    parts += [
        arrow(middle, UPPER - 2, middle, UPPER - 20),
        name(1, UPPER - 28, "features.activation"),
    ]
    parts.append(f'<text class="row" x="{2 * STEP}" y="{UPPER - 20}">the model, unchanged</text>')
    parts.append(
        f'<text class="row" x="{2 * STEP}" y="{LOWER + HEIGHT + 24}">added by expose</text>'
    )
    width, height = 8 * STEP - 8, LOWER + HEIGHT + 44
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {width} {height}" role="img">\n'
        f"<title>The graph of a tiny model and the nodes that expose adds</title>\n"
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#374151"/>'
        "</marker></defs>\n"
        f'<rect x="-8" y="0" width="{width}" height="{height}" rx="10" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), "utf-8")
