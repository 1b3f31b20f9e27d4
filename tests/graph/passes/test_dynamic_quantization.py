"""Dynamically quantized models: the gradient is that of the float model up to quantization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from onnx import numpy_helper
from onnxruntime import quantization as quantizers

import adcc_onnx as adcc

RNG = np.random.default_rng(3)
IMAGES = RNG.standard_normal((6, 3, 8, 8)).astype(np.float32)
TARGETS = np.arange(6) % 5
HEAD = """mixed = Conv (active, point) bent = Relu (mixed) pool = GlobalAveragePool (bent)
  flat = Flatten (pool) hidden = MatMul (flat, inner) sum = Add (hidden, bias)
  scores = Gemm <transB = 1> (sum, weights)"""
WEIGHTS = {"point": (4, 4, 1, 1), "inner": (4, 4), "bias": (4,)}
KINDS = {"matmul": ["MatMul", "Gemm"], "conv": ["Conv"], "both": ["MatMul", "Gemm", "Conv"]}
OPERATORS = {"matmul": {"MatMulInteger"}, "conv": {"ConvInteger"}}
OPERATORS["both"] = OPERATORS["matmul"] | OPERATORS["conv"]


def float_model(opset: int = 18) -> onnx.ModelProto:
    model = small(HEAD, opset=opset)
    rng = np.random.default_rng(4)
    for name, shape in WEIGHTS.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def gradient(model: onnx.ModelProto, layer: str = "active") -> tuple[np.ndarray, np.ndarray]:
    exposed = adcc.expose(model, [layer])
    onnx.checker.check_model(exposed, full_check=True)
    found = run(exposed, {"image": IMAGES, "target": TARGETS})
    return found["scores"], found[f"{layer}.gradient"]


def require_close(quantized: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Require gradients that differ by the rounding of 8 bits and of a few ReLUs at zero only."""
    scores, found = gradient(quantized)
    right_scores, right = gradient(original)
    assert np.abs(scores - right_scores).max() < 0.05 * np.ptp(right_scores)
    assert np.corrcoef(found.ravel(), right.ravel())[0, 1] > 0.98
    assert np.linalg.norm(found - right) < 0.2 * np.linalg.norm(right)


@pytest.mark.parametrize(
    ("kind", "opset"),
    [*(("both", opset) for opset in range(11, 22)), ("matmul", 11), ("conv", 13), ("matmul", 21)],
)
def test_quantize_dynamic_at_every_opset(kind: str, opset: int, tmp_path: Path) -> None:
    original = float_model(opset)
    onnx.save(original, tmp_path / "net.onnx")
    quantizers.quantize_dynamic(
        tmp_path / "net.onnx",
        tmp_path / "small.onnx",
        op_types_to_quantize=KINDS[kind],
        weight_type=quantizers.QuantType.QUInt8,
    )
    quantized = onnx.load(tmp_path / "small.onnx")
    assert OPERATORS[kind] <= {node.op_type for node in quantized.graph.node}
    require_close(quantized, original)
    loaded = adcc.load(tmp_path / "small.onnx", device="cpu")
    assert loaded.layers[0].name == "bent"
    assert not adcc.evaluate(loaded, IMAGES, ["gradcam", "scorecam"]).failures


def test_signed_weights_per_channel(tmp_path: Path) -> None:
    """The kind of `model_quantized.onnx` that transformers.js uses."""
    onnx.save(float_model(), tmp_path / "net.onnx")
    quantizers.quantize_dynamic(
        tmp_path / "net.onnx",
        tmp_path / "small.onnx",
        per_channel=True,
        op_types_to_quantize=["MatMul", "Gemm"],
        weight_type=quantizers.QuantType.QInt8,
        extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
    )
    require_close(onnx.load(tmp_path / "small.onnx"), float_model())


def quantized_weight(values: np.ndarray) -> tuple[np.ndarray, np.float32]:
    scale = np.float32(np.abs(values).max() / 127)
    return np.round(values / scale).astype(np.int8), scale


@pytest.mark.parametrize(
    "product",
    [
        """q, s, z = DynamicQuantizeLinear (flat)
        sum = com.microsoft.MatMulIntegerToFloat (q, inner8, s, inner_scale, z, , bias)""",
        "sum = com.microsoft.DynamicQuantizeMatMul (flat, inner8, inner_scale, , bias)",
    ],
)
def test_the_fused_products_of_onnxruntime(product: str) -> None:
    head = HEAD.replace("hidden = MatMul (flat, inner) sum = Add (hidden, bias)", product)
    quantized, original = small(head), float_model()
    quantized.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in original.graph.initializer}
    values["inner8"], values["inner_scale"] = quantized_weight(values.pop("inner"))
    del quantized.graph.initializer[:]
    quantized.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in values.items()
    )
    theirs = run(quantized, {"image": IMAGES})["scores"]
    ours, _ = gradient(quantized)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    require_close(quantized, original)
