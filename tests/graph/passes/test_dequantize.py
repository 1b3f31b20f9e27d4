"""Quantized models: rounding passes the gradient, saturation stops it; layers are floats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.central_differences import Case, differentiate
from helpers.small_models import small
from onnx import numpy_helper
from onnxruntime import quantization as quantizers

import adcc_onnx as adcc
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS
from adcc_onnx.images.decoding.decode import read_image
from adcc_onnx.runtime.passes import Pass

torch = pytest.importorskip("torch")
X = np.random.default_rng(0).normal(0, 3, (2, 3, 5))
SCALES = np.array([0.02, 0.01, 0.03])
PAIR = "q = QuantizeLinear {a} (x, s, z) y = DequantizeLinear {a} (q, s, z)"


def test_per_tensor_gradients_are_those_of_torchs_fake_quantization() -> None:
    inputs = {"x": X, "s": np.array(0.02), "z": np.array(-20, np.int8)}
    found = differentiate(Case(PAIR.format(a=""), inputs))
    x = torch.from_numpy(X).float().requires_grad_()
    torch.fake_quantize_per_tensor_affine(x, 0.02, -20, -128, 127).backward(
        torch.from_numpy(found.seed)
    )
    assert (x.grad == 0).any() and (x.grad != 0).any()
    np.testing.assert_allclose(found.gradients["x"], x.grad.numpy(), rtol=1e-6)


def test_per_channel_gradients_are_those_of_torchs_fake_quantization() -> None:
    zeros = np.array([3, 0, 128], np.uint8)
    found = differentiate(Case(PAIR.format(a="<axis = 1>"), {"x": X, "s": SCALES, "z": zeros}))
    x = torch.from_numpy(X).float().requires_grad_()
    scales, points = torch.from_numpy(SCALES).float(), torch.from_numpy(zeros.astype(np.int32))
    torch.fake_quantize_per_channel_affine(x, scales, points, 1, 0, 255).backward(
        torch.from_numpy(found.seed)
    )
    np.testing.assert_allclose(found.gradients["x"], x.grad.numpy(), rtol=1e-6)


def test_dynamic_quantization_passes_the_whole_gradient() -> None:
    text = "q, s, z = DynamicQuantizeLinear (x) y = DequantizeLinear (q, s, z)"
    found = differentiate(Case(text, {"x": X}))
    np.testing.assert_allclose(found.gradients["x"], found.seed, rtol=1e-6)


class CalibrationImages(quantizers.CalibrationDataReader):
    def __init__(self, name: str, batches: list[np.ndarray]) -> None:
        self._feeds = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantize(source: Path, target: Path, images: np.ndarray, style: str) -> Path:
    name = onnx.load(source).graph.input[0].name
    quantizers.quantize_static(
        source,
        target,
        CalibrationImages(name, [images[i : i + 1] for i in range(len(images))]),
        quant_format=getattr(quantizers.QuantFormat, style),
        per_channel=style == "QDQ",
        activation_type=quantizers.QuantType.QUInt8,
        weight_type=quantizers.QuantType.QInt8 if style == "QDQ" else quantizers.QuantType.QUInt8,
    )
    return target


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: images})[0]


BRANCHES = """left = Conv (active, point) right = AveragePool <kernel_shape = [1, 1]> (active)
  both = Add (left, right) bent = LeakyRelu <alpha = 0.2> (both)
  wide = Concat <axis = 1> (bent, active) mixed = Conv (wide, mixing) soft = Sigmoid (mixed)
  mean = GlobalAveragePool (soft)
  flat = Flatten (mean) scores = Gemm <transB = 1> (flat, weights)"""


@pytest.mark.parametrize(
    ("style", "layer"), [("QDQ", "bent_DequantizeLinear_Output"), ("QOperator", "bent_quantized")]
)
def test_a_quantized_model_has_the_maps_of_its_original(
    style: str, layer: str, tmp_path: Path
) -> None:
    model = small(BRANCHES)
    rng = np.random.default_rng(5)
    for name, shape in {"point": (4, 4, 1, 1), "mixing": (4, 8, 1, 1)}.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "net.onnx")
    images = rng.standard_normal((12, 3, 8, 8)).astype(np.float32)
    path = quantize(tmp_path / "net.onnx", tmp_path / f"{style}.onnx", images, style)
    quantized = onnx.load(path)
    rewritten = to_proto(prepare(ir.from_proto(quantized)))
    assert not any("QLinear" in node.op_type for node in rewritten.graph.node)
    scores = run(quantized, images)
    # Floating-point instead of integer arithmetic: up to two levels of the last quantization apart.
    step = np.diff(np.unique(scores)).min()
    assert np.abs(run(rewritten, images) - scores).max() <= 2.01 * step
    maps = [
        adcc.explain(adcc.load(p, layers=name, device="cpu"), images, "hirescam", target=2).maps
        for p, name in ((tmp_path / "net.onnx", "bent"), (path, layer))
    ]
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(*maps, strict=True)]
    assert np.median(correlations) > 0.95


@pytest.fixture(scope="module")
def quantized_mobilenet(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("quantized")
    source = data / "models" / "mobilenet_v2.onnx"
    original = adcc.load(source, preprocessing="torch", device="cpu")
    assert original.preprocessing is not None
    photos = sorted((data / "photos").iterdir())
    tensors = np.stack([original.preprocessing(read_image(p)) for p in photos[::5]])
    target = quantize(source, folder / "mobilenet_v2.onnx", tensors, "QDQ")
    return original, adcc.load(target, preprocessing="torch", device="cpu"), tensors


def test_quantized_mobilenet_finds_the_same_regions(quantized_mobilenet: Any) -> None:
    original, quantized, tensors = quantized_mobilenet
    (layer,) = quantized.layers
    assert layer.channels == 1280 and layer.grid == (7, 7)
    logits = original.pool.session(Pass.FORWARD).run({IMAGE: tensors})[LOGITS]
    targets = [int(c) for c in logits.argmax(axis=1)]
    one, other = (
        adcc.explain(model, tensors, "gradcam", target=targets).maps
        for model in (original, quantized)
    )
    correlations = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one, other, strict=True)
    ]
    assert np.median(correlations) > 0.95 and min(correlations) > 0.8
