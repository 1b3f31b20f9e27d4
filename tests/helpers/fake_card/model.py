"""Small models for the fake card."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import numpy_helper

_TOY = """
<ir_version: 8, opset_import: ["" : 18]>
toy ({kind}[batch,3,16,16] image) => ({kind}[batch,5] scores) {{
    rows = MatMul (image, first)
    features = Relu (rows)
    halved = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (features)
    again = MatMul (halved, second)
    last = Relu (again)
    pooled = GlobalAveragePool (last)
    flat = Flatten (pooled)
    scores = Gemm <transB = 1> (flat, weights)
}}
"""
_CNN = """
<ir_version: 8, opset_import: ["" : 18]>
cnn (float[batch,3,16,16] image) => (float[batch,5] scores) {
    wide = Conv <pads = [0, 0, 1, 1], strides = [2, 2]> (image, kernel)
    features = Relu (wide)
    same = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (features, second)
    last = Relu (same)
    mean = Mean (last, last)
    pooled = GlobalAveragePool (mean)
    flat = Flatten (pooled)
    scores = Gemm <transB = 1> (flat, weights)
}
"""


def toy(kind: str = "float") -> onnx.ModelProto:
    """Return a classifier of matrix products, ReLU and pooling, with a feature map of 8 x 8.

    Args:
        kind: The type of all values, "float" or "float16".
    """
    model = onnx.parser.parse_model(_TOY.format(kind=kind))
    dtype: DTypeLike = np.float16 if kind == "float16" else np.float32
    return _with_weights(model, {"first": (16, 16), "second": (8, 8), "weights": (5, 3)}, dtype)


def cnn() -> onnx.ModelProto:
    """Return a classifier of convolutions with unequal pads, as TensorFlow writes them."""
    shapes = {"kernel": (4, 3, 3, 3), "second": (4, 4, 3, 3), "weights": (5, 4)}
    return _with_weights(onnx.parser.parse_model(_CNN), shapes, np.float32)


def _with_weights(
    model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], dtype: DTypeLike
) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        weights = rng.standard_normal(shape).astype(dtype)
        model.graph.initializer.append(numpy_helper.from_array(weights, name))
    return model
