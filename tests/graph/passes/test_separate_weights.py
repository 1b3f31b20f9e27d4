"""Transposed convolutions that share no weights compute the same."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.passes.separate_weights import separate_weights


def shared_by(model: ir.Model) -> list[int]:
    """The number of uses of each ConvTranspose's weights."""
    nodes = [node for node in model.graph if node.op_type == "ConvTranspose"]
    return [len(node.inputs[1].uses()) for node in nodes if node.inputs[1] is not None]


def test_weights_are_separated_once_and_results_stay_equal() -> None:
    import onnxruntime

    proto = adcc.expose(small(), "image")
    model = ir.from_proto(proto)
    before, initializers = shared_by(model), len(model.graph.initializers)
    assert before and min(before) > 1
    separate_weights(model)
    assert shared_by(model) == [1] * len(before)
    assert len(model.graph.initializers) == initializers + len(before)
    separate_weights(model)
    assert len(model.graph.initializers) == initializers + len(before)
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    feeds = {proto.graph.input[0].name: images, "target": np.array([0, 1])}
    found, expected = (
        onnxruntime.InferenceSession(
            one.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(["image.gradient"], feeds)[0]
        for one in (to_proto(model), proto)
    )
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(found, expected)
