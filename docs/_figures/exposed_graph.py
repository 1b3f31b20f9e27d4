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
    "1 at the class, else 0",
    "times the transposed weight",
    "to [batch, 2, 1, 1]",
    "times 1/16",
    "0 where active ≤ 0",
)
LEFT, RIGHT, WIDTH, HEIGHT, STEP, TOP = 30, 370, 200, 46, 70, 44
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1b1f24; text-anchor: middle }
.op { font-weight: 600 } .note { font-size: 12.5px; fill: #4b5563 }
.model { fill: #dbeafe; stroke: #1d4ed8 } .added { fill: #fef3c7; stroke: #b45309 }
.io { font-weight: 600; fill: #111827 }
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


def middle(row: int) -> int:
    """Return the vertical middle of a row."""
    return TOP + row * STEP + HEIGHT // 2


def box(x: int, row: int, title: str, note: str, kind: str) -> str:
    """Return one node with its operator and a note below it."""
    center, y = x + WIDTH / 2, middle(row)
    return (
        f'<rect class="{kind}" x="{x}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" '
        f'rx="8"/><text class="op" x="{center}" y="{y - 3}">{escape(title)}</text>'
        f'<text class="note" x="{center}" y="{y + 15}">{escape(note)}</text>'
    )


def name(x: int, row: int, text: str) -> str:
    """Return the name of an input or output in the place of a node."""
    return f'<text class="io" x="{x + WIDTH / 2}" y="{middle(row) + 5}">{escape(text)}</text>'


def arrow(x1: float, y1: float, x2: float, y2: float, kind: str = "") -> str:
    """Return an arrow between two points."""
    ends = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
    return f'<line class="{kind}" {ends} marker-end="url(#head)"/>'


def vertical(x: int, row: int, down: bool) -> str:
    """Return the arrow between a row and the next one."""
    center, upper, lower = x + WIDTH / 2, middle(row) + 25, middle(row + 1) - 26
    return arrow(center, upper, center, lower) if down else arrow(center, lower, center, upper)


def draw() -> str:
    """Return the picture as SVG."""
    own, backward = operators()
    last = len(own) + 1
    parts = [name(LEFT, 0, "image"), name(LEFT, last, "scores")]
    parts += [name(RIGHT, 1, "features.gradient"), name(RIGHT, last + 1, "target")]
    parts += [box(LEFT, 1 + i, op, output, "model") for i, (op, output) in enumerate(own)]
    parts += [box(RIGHT, last - i, op, MEANINGS[i], "added") for i, op in enumerate(backward)]
    parts += [vertical(LEFT, row, down=True) for row in range(last)]
    parts += [vertical(RIGHT, row, down=False) for row in range(1, last + 1)]
    # The output of Relu decides where its gradient is 0; the scores decide on the class.
    for row, start in ((2, LEFT + WIDTH + 2), (last, LEFT + WIDTH / 2 + 32)):
        parts.append(arrow(start, middle(row), RIGHT - 4, middle(row), "reads"))
    parts += [name(RIGHT, 0, "features.activation")]
    parts.append(arrow(LEFT + WIDTH + 2, middle(1) - 8, RIGHT + 20, middle(0) + 12))
    for x, text in ((LEFT, "the model, unchanged"), (RIGHT, "added by expose")):
        parts.append(f'<text class="note" x="{x + WIDTH / 2}" y="26">{text}</text>')
    width, height = RIGHT + WIDTH + 30, middle(last + 1) + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">\n'
        f"<title>The graph of a tiny model and the nodes that expose adds</title>\n"
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#374151"/>'
        "</marker></defs>\n"
        f'<rect width="{width}" height="{height}" rx="10" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), "utf-8")
