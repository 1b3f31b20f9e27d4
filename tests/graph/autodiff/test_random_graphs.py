"""Gradients of small random graphs (branches, reuse, broadcasts) against central differences."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from helpers.central_differences import Case, differences, differentiate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHAPE = (2, 3, 4)
# Smooth everywhere, and bounded enough that a chain of them keeps its precision in float32.
UNARY = ("Sigmoid", "Tanh", "Sin", "Cos", "Atan", "Softplus", "Softsign", "Mish", "Neg", "Identity")
BINARY = ("Add", "Sub", "Mul")
# These keep the rank; a reduced axis is broadcast by the next node.
SHAPED = (
    "Softmax <axis = -1> ({x})",
    "LogSoftmax <axis = 1> ({x})",
    "ReduceMean <keepdims = 1> ({x}, last)",
    "ReduceSum <keepdims = 1> ({x}, middle)",
    "ReduceLogSumExp <keepdims = 1> ({x}, last)",
    "CumSum ({x}, axis)",
    "Clip ({x}, low)",
    "LeakyRelu <alpha = 0.3> ({x})",
)
CONSTANTS = {
    "row": np.linspace(-0.7, 0.9, 4),
    "column": np.linspace(0.4, -0.6, 3).reshape(3, 1),
    "last": np.array([-1]),
    "middle": np.array([1]),
    "axis": np.array(1),
    "low": np.array(-0.037),
    "square": np.linspace(-0.5, 0.5, 16).reshape(4, 4),
}


@dataclass
class Graph:
    """A graph under construction.

    Attributes:
        nodes: ONNX text of the nodes.
        values: Values that the next node may read: name -> whether the last axis is unreduced.
    """

    nodes: list[str] = field(default_factory=list)
    values: dict[str, bool] = field(default_factory=lambda: {"x": True, "z": True})

    def add(self, text: str, full: bool) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(f"{name} = {text}")
        self.values[name] = full


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """Draw up to ten nodes on two inputs; the output sums all values that no node reads."""
    graph, unread = Graph(), {"x", "z"}
    for _ in range(draw(st.integers(3, 10))):
        first = draw(st.sampled_from(sorted(graph.values)))
        kind = draw(st.sampled_from(["unary", "binary", "constant", "shaped", "matmul", "split"]))
        read = {first}
        if kind == "unary":
            graph.add(f"{draw(st.sampled_from(UNARY))} ({first})", graph.values[first])
        elif kind == "binary":
            second = draw(st.sampled_from(sorted(graph.values)))
            read.add(second)
            full = graph.values[first] or graph.values[second]
            graph.add(f"{draw(st.sampled_from(BINARY))} ({first}, {second})", full)
        elif kind == "constant":
            other = draw(st.sampled_from(["row", "column"]))
            graph.add(f"Mul ({first}, {other})", graph.values[first] or other == "row")
        elif kind == "shaped":
            text = draw(st.sampled_from(SHAPED)).format(x=first)
            graph.add(text, graph.values[first] and "last" not in text)
        elif kind == "matmul" and graph.values[first]:
            graph.add(f"MatMul ({first}, square)", True)
        elif kind == "split" and graph.values[first]:
            number = len(graph.nodes)
            graph.nodes.append(
                f"p{number}, q{number} = Split <axis = 2, num_outputs = 2> ({first})"
            )
            graph.add(f"Concat <axis = 2> (q{number}, p{number})", True)
        else:
            continue
        unread = (unread - read) | {list(graph.values)[-1]}
    total = ", ".join(sorted(unread))
    return " ".join([*graph.nodes, f"y = Sum ({total})" if "," in total else f"y = Tanh ({total})"])


@settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(graphs())
def test_random_graphs_against_central_differences(nodes: str) -> None:
    inputs = {"x": SHAPE, "z": SHAPE} | CONSTANTS
    reads = {
        name
        for node in onnx.parser.parse_graph(f"g () => () {{ {nodes} }}").node
        for name in node.input
    }
    case = Case(nodes, inputs, tuple(name for name in ("x", "z") if name in reads))
    result = differentiate(case)
    for name in case.wrt:
        expected = differences(case, name, result.seed)
        scale = max(np.abs(expected).max(), 1e-3)
        assert np.abs(result.gradients[name] - expected).max() < 1e-4 * scale
