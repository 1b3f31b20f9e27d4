"""Operators with impossible attributes or arguments."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import AttributeProto, helper

from helpers.malformed_models.base import Cases, Change, changed, with_layer

# Of the convolution.
_CONV: dict[str, dict[str, Any]] = {
    "group_0": {"group": 0},
    "group_-1": {"group": -1},
    "group_2^40": {"group": 2**40},
    "group_float": {"group": 1.5},
    "group_text": {"group": "one"},
    "strides_0": {"strides": [0, 0]},
    "strides_-1": {"strides": [-1, 1]},
    "strides_2^60": {"strides": [2**60, 2**60]},
    "strides_short": {"strides": [1]},
    "dilations_0": {"dilations": [0, 0]},
    "dilations_2^62": {"dilations": [2**62, 2**62]},
    "pads_2^62": {"pads": [2**62] * 4},
    "pads_-9": {"pads": [-9] * 4},
    "pads_short": {"pads": [1]},
    "kernel_shape": {"kernel_shape": [7, 7, 7]},
    "auto_pad": {"auto_pad": "SIDEWAYS"},
    "unknown": {"surprise": [1, 2, 3]},
}
# Operators between `active` and `wide`.
_LAYERS = {
    "pool_kernel": "wide = MaxPool <kernel_shape = [1000000000, 1000000000]> (active)",
    "pool_stride_0": "wide = MaxPool <kernel_shape = [2, 2], strides = [0, 0]> (active)",
    "pool_without": "wide = AveragePool (active)",
    "transpose_twice": "wide = Transpose <perm = [0, 1, 1, 3]> (active)",
    "transpose_far": "wide = Transpose <perm = [0, 9, 2, 3]> (active)",
    "concat_axis": "wide = Concat <axis = 99> (active, active)",
    "softmax_axis": "wide = Softmax <axis = -99> (active)",
    "flatten_axis": "wide = Flatten <axis = 77> (active)",
    "depth_to_space_0": "wide = DepthToSpace <blocksize = 0> (active)",
    "space_to_depth_huge": "wide = SpaceToDepth <blocksize = 4611686018427387904> (active)",
    "lrn_size": "wide = LRN <size = 2147483647> (active)",
    "lrn_negative": "wide = LRN <size = -3> (active)",
    "einsum_bad": 'wide = Einsum <equation = "...ij,,->>"> (active)',
    "einsum_rank": 'wide = Einsum <equation = "abcd,efgh->abcdefgh"> (active, active)',
    "cast_to": "wide = Cast <to = 12345> (active)",
    "cast_string": "wide = Cast <to = 8> (active)",
    "reduce_axes": "axes = Constant <value = int64[1] {77}> () wide = ReduceSum (active, axes)",
    "reshape_bad": "to = Constant <value = int64[2] {-1, -1}> () wide = Reshape (active, to)",
    "reshape_-5": "to = Constant <value = int64[2] {7, -5}> () wide = Reshape (active, to)",
    "reshape_huge": "to = Constant <value = int64[2] {4611686018427387904, 4}> () "
    "wide = Reshape (active, to)",
    "gather_far": "at = Constant <value = int64[1] {1000}> () "
    "wide = Gather <axis = 1> (active, at)",
    "squeeze_wide": "axes = Constant <value = int64[1] {1}> () wide = Squeeze (active, axes)",
    "split_bad": "parts = Constant <value = int64[2] {1, 99}> () "
    "wide, other = Split <axis = 1> (active, parts)",
    "slice_step_0": "a = Constant <value = int64[1] {0}> () b = Constant <value = int64[1] {9}> () "
    "c = Constant <value = int64[1] {1}> () wide = Slice (active, a, b, c, a)",
    "batch_norm": "wide = BatchNormalization (active, kernel, kernel, kernel, kernel)",
    "matmul": "wide = MatMul (active, kernel)",
    "constant_empty": "empty = Constant () wide = Add (active, empty)",
    "string_work": 'wide = StringNormalizer <case_change_action = "UPPER"> (active)',
}


def attributes() -> Cases:
    """Yield models with one impossible operator each."""
    for name, values in _CONV.items():
        yield f"conv_{name}", changed(_conv_with(values))
    for name, attribute in {
        "of_no_type": AttributeProto(name="group"),
        "of_no_value": AttributeProto(name="group", type=AttributeProto.TENSOR),
        "referring": AttributeProto(name="group", type=AttributeProto.INT, ref_attr_name="outer"),
    }.items():
        yield f"conv_{name}", changed(_append_to_conv(attribute))
    yield "conv_twice", changed(lambda g: g.node[0].attribute.append(g.node[0].attribute[0]))
    for name, text in _LAYERS.items():
        yield name, with_layer(text)


def _conv_with(values: dict[str, Any]) -> Change:
    def change(g: onnx.GraphProto) -> None:
        merged: dict[str, Any] = {"pads": [1, 1, 1, 1], **values}
        g.node[0].CopyFrom(helper.make_node("Conv", ["image", "kernel"], ["features"], **merged))

    return change


def _append_to_conv(attribute: AttributeProto) -> Change:
    return lambda g: g.node[0].attribute.append(attribute)
