"""A graph in the form for the CPU computes the same, without kernels that are known to be slow."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from adcc_onnx.graph.passes.cpu_form import to_cpu_form
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session_opening import open_session

RNG = np.random.default_rng(0)


def graph(attributes: str, sizes: str = "batch,7,4,5", kind: str = "float") -> onnx.ModelProto:
    """Return a graph of one LRN between two other operators."""
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 18]>
        g ({kind}[{sizes}] x) => ({kind}[{sizes}] y) {{
            a = Neg (x)
            b = LRN <{attributes}> (a)
            y = Neg (b)
        }}""")


def normalized(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Return what ONNX defines, in float64.

    onnx's reference evaluator (1.23) sums over as many channels as there are images.
    """
    (lrn,) = (node for node in model.graph.node if node.op_type == "LRN")
    given = {one.name: onnx.helper.get_attribute_value(one) for one in lrn.attribute}
    size, channels = given["size"], x.shape[1]
    squares, sums = x.astype(np.float64) ** 2, np.zeros(x.shape)
    for c in range(channels):
        first = max(0, c - math.floor((size - 1) / 2))
        last = min(channels - 1, c + math.ceil((size - 1) / 2))
        sums[:, c] = squares[:, first : last + 1].sum(axis=1)
    total = given.get("bias", 1.0) + given.get("alpha", 1e-4) / size * sums
    return x / total ** given.get("beta", 0.75)


def operators(model: ir.Model) -> set[str]:
    """Return the names of the operators of a graph."""
    return {node.op_type for node in model.graph}


@pytest.mark.parametrize(
    ("attributes", "sizes"),
    [
        ("size = 5", "batch,7,4,5"),
        ("size = 5, alpha = 2.0, beta = 0.5, bias = 0.5", "batch,7,4,5"),
        ("size = 4, alpha = 3.0, beta = 1.0", "batch,7,4,5"),  # one channel more after than before
        ("size = 1, alpha = 0.7, beta = 0.75, bias = 2.0", "batch,7,4,5"),
        ("size = 9, alpha = 5.0", "batch,3,6"),  # larger than the number of channels
        ("size = 3, alpha = 4.0", "2,6,2,3,4"),
    ],
)
def test_local_response_normalization(attributes: str, sizes: str) -> None:
    original = graph(attributes, sizes)
    shape = [2 if size == "batch" else int(size) for size in sizes.split(",")]
    x = RNG.standard_normal(shape, np.float32) * 3
    expected = normalized(original, x)
    rewritten = prepare(ir.from_proto(original))
    to_cpu_form(rewritten)
    assert "LRN" not in operators(rewritten)
    session = onnxruntime.InferenceSession(ir.to_proto(rewritten).SerializeToString())
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("attributes", "sizes", "kind"),
    [
        ("size = 5, beta = 0.6", "batch,7,4,5", "float"),  # no roots
        ("size = 5", "batch,600,4,5", "float"),  # so many that the convolution takes longer
        ("size = 5", "batch,channels,4,5", "float"),
        ("size = 5", "batch,7,4,5", "double"),
    ],
)
def test_what_gains_nothing_is_kept(attributes: str, sizes: str, kind: str) -> None:
    model = ir.from_proto(graph(attributes, sizes, kind))
    to_cpu_form(model)
    assert operators(model) == {"Neg", "LRN"}


def test_sessions_on_the_cpu_open_this_form() -> None:
    original = graph("size = 5, alpha = 1.0")
    model = prepare(ir.from_proto(original))
    session = open_session(model, choose_device("cpu")).session
    x = RNG.standard_normal((3, 7, 4, 5), np.float32)
    expected = normalized(original, x)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=2e-6)
    assert "LRN" not in operators(model)
