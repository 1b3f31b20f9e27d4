"""The prepared form of a model: upgraded, inlined and folded, with all layers and names."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.small_models import small

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.expose import expose


@pytest.mark.parametrize("opset", [11, 13, 15, 17])
def test_upgrading_changes_neither_names_nor_scores(opset: int) -> None:
    old = small("softmax", opset=opset)
    images = np.random.default_rng(1).standard_normal((2, 3, 8, 8), np.float32)
    new = to_proto(prepare(ir.from_proto(old)))
    assert new.opset_import[0].version >= 18
    names = {name for node in old.graph.node for name in node.output}
    assert names <= {name for node in new.graph.node for name in node.output}
    before, after = (
        onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, {"image": images})[0]
        for model in (old, new)
    )
    np.testing.assert_array_equal(before, after)


def test_local_functions_are_inlined() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18, "own" : 1]>
        g (float[batch,3,8,8] image) => (float[batch,5] scores)
          <float[5,3] weights = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6}> {
            pooled = GlobalAveragePool (image)
            scores = own.Head (pooled, weights)
        }
        <domain: "own", opset_import: ["" : 18]>
        Head (x, w) => (y) { flat = Flatten (x) y = Gemm <transB = 1> (flat, w) }
    """)
    prepared = prepare(ir.from_proto(model))
    assert [node.op_type for node in prepared.graph] == ["GlobalAveragePool", "Flatten", "Gemm"]


def test_shape_arithmetic_becomes_constant_and_layers_stay() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[batch,3,8,8] image) => (float[batch,192] scores) {
            kept = Identity (image)
            dropped = Dropout (kept)
            sizes = Shape <start = 1> (dropped)
            wide = ReduceProd <keepdims = 1> (sizes)
            any = Constant <value = int64[1] {-1}> ()
            shape = Concat <axis = 0> (any, wide)
            scores = Reshape (dropped, shape)
        }
    """)
    prepared = prepare(ir.from_proto(model))
    assert [n.op_type for n in prepared.graph] == ["Identity", "Dropout", "Reshape"]
    shape = prepared.graph.initializers["shape"].const_value
    assert shape is not None and list(shape.numpy()) == [-1, 192]


def test_a_cycle_is_an_error() -> None:
    model = small()
    model.graph.node[0].input[0] = "active"
    with pytest.raises(ModelError):
        prepare(ir.from_proto(model))


def test_upsample_of_old_opsets_becomes_resize() -> None:
    """The gradient of nearest-neighbor upsampling sums over the copies of each pixel."""
    text = """
      <ir_version: 4, opset_import: ["" : 9]>
      net (float[N,2,3,3] image) => (float[N,2] scores) {
        layer = Identity (image)
        scales = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> ()
        large = Upsample <mode = "nearest"> (layer, scales)
        square = Mul (large, large)
        mean = GlobalAveragePool (square)
        scores = Flatten (mean)
      }"""
    model = onnx.parser.parse_model(text)
    exposed = expose(model, ["layer"])
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    feeds = {"image": images, "target": np.array([0, 1])}
    (gradient,) = session.run(["layer.gradient"], feeds)
    chosen = np.eye(2)[:, :, None, None]
    np.testing.assert_allclose(gradient, chosen * 2 * images * 4 / 36, rtol=1e-5)
