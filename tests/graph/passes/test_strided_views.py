"""A Gather that takes every element in its order is a view, for every batch size."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from adcc_onnx.graph.passes.prepare import prepare

# PyTorch's as_strided: the positions are batch * 6 + channel * step.
GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[batch,6,1,1] x) => (float[N,6,1,1] y)
<int64[1] all = {{-1}}, int64 zero = {{0}}, int64 one = {{1}}, int64[4] first = {{-1, 1, 1, 1}},
 int64[1] start = {{0}}, int64 six = {{6}}, int64[4] second = {{1, 6, 1, 1}},
 int64[6] channels = {{{positions}}}>
{{
    n = Shape <end = 1> (x)
    count = Squeeze (n)
    samples = Range (zero, count, one)
    rows = Mul (samples, six)
    rows4 = Reshape (rows, first)
    channels4 = Reshape (channels, second)
    positions = Add (rows4, channels4)
    flat = Reshape (x, all)
    y = Gather (flat, positions)
}}
"""


@pytest.mark.parametrize(
    ("positions", "view"), [("0, 1, 2, 3, 4, 5", True), ("1, 0, 2, 3, 4, 5", False)]
)
def test_only_a_view_becomes_a_reshape(positions: str, view: bool) -> None:
    proto = onnx.parser.parse_model(GRAPH.format(positions=positions))
    before = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    prepared = prepare(ir.from_proto(proto))
    assert ("Gather" in {node.op_type for node in prepared.graph}) != view
    after = onnxruntime.InferenceSession(
        ir.to_proto(prepared).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch in (1, 2, 5):
        x = np.random.default_rng(0).standard_normal((batch, 6, 1, 1)).astype(np.float32)
        np.testing.assert_array_equal(after.run(None, {"x": x})[0], before.run(None, {"x": x})[0])
