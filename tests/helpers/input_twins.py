"""One small classifier with inputs of many shapes, types and numbers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_TYPES = {"float": np.float32, "double": np.float64, "float16": np.float16, "uint8": np.uint8}
_HEAD = """features = Conv <pads = [1, 1, 1, 1]> (pixels, kernel)
  active = Relu (features)
  pooled = GlobalAveragePool (active)
  flat = Flatten (pooled)
  scores = Gemm <transB = 1> ({flat}, weights)"""


def twin(
    inputs: str,
    adapt: str = "pixels = Identity (x)",
    *,
    channels: int = 1,
    table: int = 0,
    kind: str = "float",
    flat: str = "flat",
) -> onnx.ModelProto:
    """Return a classifier of 5 classes on images of 8 x 6 pixels.

    Args:
        inputs: The inputs in ONNX text, such as "float[batch,48] x".
        adapt: ONNX text that computes `pixels` [batch, channels, 8, 6] from the inputs.
        channels: The number of channels.
        table: The number of values that `flat` has in addition to the 4 features.
        kind: The type of the weights.
        flat: The value that the last layer reads; `flat` is [batch, 4].
    """
    text = f"""<ir_version: 8, opset_import: ["" : 18]>
net ({inputs}) => ({kind}[batch,5] scores) {{
  {adapt}
  {_HEAD.format(flat=flat)}
}}"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(3)
    constants = {
        "kernel": rng.standard_normal((4, channels, 3, 3)).astype(_TYPES[kind]),
        "weights": rng.standard_normal((5, 4 + table)).astype(_TYPES[kind]),
        "nchw": np.array([-1, channels, 8, 6]),
        "nhwc": np.array([-1, 8, 6, channels]),
        "axis": np.array([1]),
        "byte": np.array(255, _TYPES[kind]),
    }
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items() if name in used
    )
    return model


def forget_shape(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the shape of the first input, as some exporters do."""
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


def declare(model: onnx.ModelProto, dims: list[int | str]) -> onnx.ModelProto:
    """Declare another shape of the first input."""
    kind = model.graph.input[0].type.tensor_type.elem_type
    name = model.graph.input[0].name
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(name, kind, dims))
    return model
