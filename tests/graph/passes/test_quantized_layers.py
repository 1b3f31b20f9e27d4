"""Layers of quantized models: names of the user's file, and the default layer of the float twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small
from onnx import numpy_helper
from onnxruntime import quantization as quantizers

import adcc_onnx as adcc

RNG = np.random.default_rng(5)
IMAGES = RNG.standard_normal((8, 3, 8, 8)).astype(np.float32)
# The head of the float model, its further weights, its default layer, and that layer in the model
# with quantized operators (a ReLU is part of the convolution there).
HEADS = {
    "pooled": ("logits", {}, "active", "features_quantized"),
    "flattened": (
        "flat = Flatten (active) scores = Gemm <transB = 1> (flat, wide)",
        {"wide": (5, 256)},
        "active",
        "features_quantized",
    ),
    "max_pooled": (
        "low = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (active) flat = Flatten (low) "
        "scores = Gemm <transB = 1> (flat, wide)",
        {"wide": (5, 64)},
        "low",
        "low_quantized",
    ),
    "class_maps": (
        "maps = Conv (active, point) mean = GlobalAveragePool (maps) scores = Flatten (mean)",
        {"point": (5, 4, 1, 1)},
        "active",
        "features_quantized",
    ),
}


class CalibrationImages(quantizers.CalibrationDataReader):
    def __init__(self) -> None:
        self._feeds = iter([{"image": image[None]} for image in IMAGES])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


@pytest.mark.parametrize("style", ["QDQ", "QOperator"])
@pytest.mark.parametrize("head", HEADS)
def test_the_default_layer_is_that_of_the_float_twin(head: str, style: str, tmp_path: Path) -> None:
    text, weights, layer, quantized_layer = HEADS[head]
    model = small(text)
    for name, shape in weights.items():
        values = RNG.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "net.onnx")
    quantizers.quantize_static(
        tmp_path / "net.onnx",
        tmp_path / "small.onnx",
        CalibrationImages(),
        quant_format=getattr(quantizers.QuantFormat, style),
        activation_type=quantizers.QuantType.QUInt8,
        weight_type=quantizers.QuantType.QUInt8,
    )
    original, quantized = (
        adcc.load(tmp_path / name, device="cpu") for name in ("net.onnx", "small.onnx")
    )
    assert original.layers[0].name == layer
    wanted = f"{layer}_DequantizeLinear_Output" if style == "QDQ" else quantized_layer
    assert quantized.layers[0].name == wanted
    assert quantized.with_layers(wanted).layers[0].value is quantized.layers[0].value
    found = adcc.inspect(tmp_path / "small.onnx")
    graph = onnx.load(tmp_path / "small.onnx").graph
    names = {name for node in graph.node for name in node.output} | {"image"}
    assert {one["name"] for one in found["layers"]} <= names
    maps = [adcc.explain(one, IMAGES, "hirescam", target=2).maps for one in (original, quantized)]
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(*maps, strict=True)]
    assert np.median(correlations) > 0.98


def test_a_node_of_the_file_names_the_layer_that_it_computed(tmp_path: Path) -> None:
    model = small()
    model.graph.node[0].name = "first"
    onnx.save(model, tmp_path / "net.onnx")
    quantizers.quantize_static(
        tmp_path / "net.onnx",
        tmp_path / "small.onnx",
        CalibrationImages(),
        quant_format=quantizers.QuantFormat.QOperator,
    )
    quantized = adcc.load(tmp_path / "small.onnx", device="cpu")
    (name,) = [
        node.name
        for node in onnx.load(tmp_path / "small.onnx").graph.node
        if node.op_type == "QLinearConv"
    ]
    assert quantized.with_layers(name).layers[0].value is quantized.layers[0].value
