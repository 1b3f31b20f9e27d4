"""Values of unexpected types, and weights whose header does not match their data."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from helpers.malformed_models.base import Cases, Change, changed

_TYPES = ("STRING", "BOOL", "INT64", "COMPLEX64", "FLOAT8E4M3FN", "INT4", "UNDEFINED")
_DIMS: tuple[tuple[int, ...], ...] = (
    (2**30, 2**30),
    (2**62, 4, 4, 4),
    (-1, 3, 3, 3),
    (-4, -3, 3, 3),
    (0, 3, 3, 3),
    (4, 3, 3),
    (4, 3, 3, 4),
    (1,) * 2000,
    (),
)


def types() -> Cases:
    """Yield models whose inputs, outputs or weights are of unexpected types."""
    for kind in _TYPES:
        yield f"image_{kind}", changed(_image_type(TensorProto.DataType.Value(kind)))
    yield "image_99", changed(_image_type(99))
    yield "image_sequence", changed(_make_sequence)
    yield "image_optional", changed(_make_optional)
    yield "image_without_type", changed(lambda g: g.input[0].ClearField("type"))
    yield "output_without_type", changed(lambda g: g.output[0].ClearField("type"))
    yield (
        "output_string",
        changed(lambda g: setattr(g.output[0].type.tensor_type, "elem_type", TensorProto.STRING)),
    )
    words = TensorProto(data_type=TensorProto.STRING, dims=[5, 4], string_data=[b"\xff" * 9] * 20)
    yield "weights_string", changed(_replace_weights(words))
    for dtype in (np.int64, np.float64, bool, np.complex64):
        values = numpy_helper.from_array(np.ones((5, 4), dtype))
        yield f"weights_{np.dtype(dtype)}", changed(_replace_weights(values))


def tensors() -> Cases:
    """Yield models whose weights have a wrong header, wrong data or special values."""
    for dims in _DIMS:
        name = "x".join(map(str, dims[:5]))
        yield f"dims_{name}_{len(dims)}", changed(_set_dims(dims))
    yield "type_0", changed(_set_kernel("data_type", 0))
    yield "type_99", changed(_set_kernel("data_type", 99))
    yield "type_wider", changed(_set_kernel("data_type", 11))
    yield "no_data", changed(lambda g: g.initializer[0].ClearField("raw_data"))
    yield "two_data", changed(lambda g: g.initializer[0].float_data.extend([1.0] * 500))
    yield "unnamed", changed(lambda g: g.initializer[0].ClearField("name"))
    yield "segment", changed(_add_segment)
    yield "nan", changed(_fill(0, np.nan))
    yield "inf", changed(_fill(0, np.inf))
    yield "zero", changed(_fill(1, 0))
    yield "sparse", changed(_make_sparse)


def _image_type(kind: int) -> Change:
    return lambda g: setattr(g.input[0].type.tensor_type, "elem_type", kind)


def _make_sequence(g: onnx.GraphProto) -> None:
    kind = g.input[0].type.tensor_type
    g.input[0].type.CopyFrom(helper.make_sequence_type_proto(onnx.TypeProto(tensor_type=kind)))


def _make_optional(g: onnx.GraphProto) -> None:
    kind = g.input[0].type.tensor_type
    g.input[0].type.CopyFrom(helper.make_optional_type_proto(onnx.TypeProto(tensor_type=kind)))


def _replace_weights(values: TensorProto) -> Change:
    values.name = "weights"
    return lambda g: g.initializer[1].CopyFrom(values)


def _set_dims(dims: tuple[int, ...]) -> Change:
    def change(g: onnx.GraphProto) -> None:
        del g.initializer[0].dims[:]
        g.initializer[0].dims.extend(dims)

    return change


def _set_kernel(field: str, value: int) -> Change:
    return lambda g: setattr(g.initializer[0], field, value)


def _add_segment(g: onnx.GraphProto) -> None:
    g.initializer[0].segment.CopyFrom(TensorProto.Segment(begin=5, end=-3))


def _fill(index: int, value: float) -> Change:
    def change(g: onnx.GraphProto) -> None:
        tensor = g.initializer[index]
        values = np.full(tuple(tensor.dims), value, np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return change


def _make_sparse(g: onnx.GraphProto) -> None:
    sparse = onnx.SparseTensorProto(dims=[2**40, 2**20])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), "weights"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0, 5, 2**50])))
    del g.initializer[1]
    g.sparse_initializer.append(sparse)
