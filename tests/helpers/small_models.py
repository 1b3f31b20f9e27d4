"""A small convolutional classifier, with the different heads that exporters write."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_BODY = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
classifier ({kind}[{batch},3,8,8] image) => ({kind}[{batch},5] scores) {{
  features = Conv <pads = [1, 1, 1, 1]> (image, kernel)
  active = Relu (features)
  pooled = GlobalAveragePool (active)
  {head}
}}
"""
HEADS = {
    "logits": "flat = Flatten (pooled) scores = Gemm <transB = 1> (flat, weights)",
    "softmax": """flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)
        scores = Softmax <axis = 1> (logits)""",
    "softmax_behind_reshape": """flat = Flatten (pooled)
        logits = Gemm <transB = 1> (flat, weights)
        soft = Softmax <axis = 1> (logits)
        shape = Constant <value = int64[2] {0, 5}> ()
        scores = Reshape (soft, shape)""",
    "softmax_behind_cast": """flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)
        soft = Softmax <axis = 1> (logits) half = Cast <to = 10> (soft)
        scores = Cast <to = 1> (half)""",
    "log_softmax": """flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)
        scores = LogSoftmax <axis = 1> (logits)""",
    "reshape_to_one": """shape = Constant <value = int64[2] {1, 4}> ()
        flat = Reshape (pooled, shape) scores = Gemm <transB = 1> (flat, weights)""",
    "reshape_with_minus_one": """shape = Constant <value = int64[2] {1, -1}> ()
        flat = Reshape (pooled, shape) scores = Gemm <transB = 1> (flat, weights)""",
}
_TYPES = {
    "double": onnx.TensorProto.DOUBLE,
    "float": onnx.TensorProto.FLOAT,
    "float16": onnx.TensorProto.FLOAT16,
    "bfloat16": onnx.TensorProto.BFLOAT16,
}


def small(
    head: str = "logits", batch: str | int = "batch", opset: int = 18, kind: str = "float"
) -> onnx.ModelProto:
    """Return a model of a Conv, a ReLU, global average pooling and a head, with random weights.

    Args:
        head: A key of `HEADS`, or the ONNX text of another head; it reads `active` [batch, 4, 8, 8]
            or `pooled` [batch, 4, 1, 1], and computes `scores` [batch, 5].
        batch: The batch size, or the name of a dynamic batch dimension.
        opset: The opset of the model.
        kind: The type of all values, "float", "double", "float16" or "bfloat16".
    """
    text = _BODY.format(ir=8, opset=opset, kind=kind, batch=batch, head=HEADS.get(head, head))
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(_TYPES[kind])
    weights = {"kernel": (4, 3, 3, 3), "weights": (5, 4)}
    model.graph.initializer.extend(
        numpy_helper.from_array(rng.standard_normal(shape).astype(dtype), name)
        for name, shape in weights.items()
    )
    return model
