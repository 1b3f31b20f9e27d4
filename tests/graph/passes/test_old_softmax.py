"""Softmax before opset 13 flattened its input; the upgraded model equals its opset-13 twin."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from onnx import numpy_helper

import adcc_onnx as adcc

RNG = np.random.default_rng(3)
IMAGES = RNG.standard_normal((3, 3, 8, 8)).astype(np.float32)
RANKS = {
    "flatten": "flat = Flatten (pooled)",
    "reshape_to_known_shape": """shape = Constant <value = int64[2] {0, -1}> ()
      flat = Reshape (pooled, shape)""",
    "reshape_by_shape": """all = Shape (pooled) first = Gather <axis = 0> (all, zero)
      rest = Constant <value = int64[1] {-1}> () shape = Concat <axis = 0> (first, rest)
      flat = Reshape (pooled, shape)""",
    "squeeze": "flat = Squeeze <axes = [2, 3]> (pooled)",
}
ENDS = {
    "Softmax": "scores = Softmax <axis = {axis}> (logits)",
    "LogSoftmax": "scores = LogSoftmax <axis = {axis}> (logits)",
    "middle": """gate = Softmax <axis = {axis}> (logits) both = Mul (gate, logits)
      scores = Softmax <axis = {axis}> (both)""",
}


def model_with(rank: str, end: str, opset: int) -> onnx.ModelProto:
    text = RANKS[rank]
    if opset >= 13:
        text = text.replace("Squeeze <axes = [2, 3]> (pooled)", "Squeeze (pooled, axes)")
    axis = 1 if opset < 13 else -1
    head = f"{text} logits = Gemm <transB = 1> (flat, weights) {ENDS[end].format(axis=axis)}"
    model = small(head, opset=opset)
    for name, values in {"zero": [0], "axes": [2, 3]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    return model


def outputs_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    exposed = adcc.expose(model, ["active"])
    onnx.checker.check_model(exposed, full_check=True)
    names = [node.name for node in exposed.graph.node if node.name]
    assert len(names) == len(set(names))
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"image": IMAGES, "target": np.array([0, 1, 4])})
    return dict(zip((output.name for output in session.get_outputs()), found, strict=True))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12])
def test_old_softmax_equals_its_twin(opset: int, rank: str, end: str) -> None:
    old, new = (outputs_of(model_with(rank, end, number)) for number in (opset, 13))
    assert old.keys() == new.keys()
    for name, right in new.items():
        np.testing.assert_allclose(old[name], right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 12])
def test_a_softmax_over_several_axes_keeps_its_meaning(opset: int) -> None:
    """At axis 1 of a feature map, all channels and positions are normalized together."""
    head = """gate = Softmax <axis = 1> (active) kept = Mul (gate, active)
      pool = GlobalAveragePool (kept) flat = Flatten (pool)
      scores = Gemm <transB = 1> (flat, weights)"""
    twin = """row = Flatten (active) soft = Softmax <axis = -1> (row) sizes = Shape (active)
      gate = Reshape (soft, sizes) kept = Mul (gate, active)
      pool = GlobalAveragePool (kept) flat = Flatten (pool)
      scores = Gemm <transB = 1> (flat, weights)"""
    old, new = outputs_of(small(head, opset=opset)), outputs_of(small(twin, opset=13))
    for name, right in new.items():
        np.testing.assert_allclose(old[name], right, rtol=1e-5, atol=1e-6)
