"""Models that are broken or mean harm, made of sound ones; each is a folder with `model.onnx`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from helpers.small_models import small

Model = onnx.ModelProto
SOUND = small("softmax")
SEED = 6
HUGE = 10**10
DENSE = "flat = Flatten ({}) scores = Gemm <transB = 1> (flat, weights)"


def corpus() -> Iterator[tuple[str, bytes | Model | Callable[[Path], None]]]:
    """(name, the file's bytes, or a function that writes the folder)."""
    for family in (
        _truncated,
        _flipped,
        _no_models,
        _structures,
        _versions,
        _types,
        _tensors,
        _attributes,
        _sizes,
        _constants,
        _recursions,
        _inputs,
        _names,
        _external,
    ):
        for name, made in family():
            yield f"{family.__name__[1:]}-{name}", made


def write(folder: Path, made: bytes | Model | Callable[[Path], None]) -> Path:
    """The case as a folder of its own; returns the model's path."""
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    if callable(made):
        made(folder)
    else:
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def _truncated() -> Iterator[tuple[str, bytes]]:
    whole = SOUND.SerializeToString()
    for offset in np.linspace(1, len(whole) - 1, 16, dtype=int):
        yield str(offset), whole[:offset]


def _flipped() -> Iterator[tuple[str, bytes]]:
    """Bits turned over, in what is not weights: those may have any value."""
    rng = np.random.default_rng(SEED)
    whole = np.frombuffer(SOUND.SerializeToString(), np.uint8)
    weights = whole.tobytes().find(SOUND.graph.initializer[0].raw_data[:16])
    for number in range(40):
        broken = whole.copy()
        places = rng.integers(0, weights, 1 + number % 4)
        broken[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
        yield str(number), broken.tobytes()


def _no_models() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(SEED)
    yield "empty", b""
    yield "text", b"<html>404 not found</html>\n" * 100
    yield "zip", b"PK\x03\x04" + rng.bytes(2000)
    yield "noise", rng.bytes(5000)
    yield "lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    # Field 7 (graph) of 2^62 bytes.
    yield "endless_field", b"\x08\x08\x3a" + b"\xff" * 8 + b"\x3f"
    yield "nested_groups", b"\x3b" * 100_000
    # A graph in an attribute of a node in a graph ..., 300 deep.
    inner = b""
    for _ in range(300):
        inner = _field(1, _field(5, _field(6, inner)))
    yield "nested_messages", _field(7, inner)


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes."""
    size, rest = b"", len(content)
    while rest >= 128:
        size, rest = size + bytes([rest % 128 + 128]), rest // 128
    return bytes([number * 8 + 2]) + size + bytes([rest]) + content


def _changed(change: Callable[[onnx.GraphProto], object], head: str = "softmax") -> Model:
    model = small(head)
    change(model.graph)
    return model


def _structures() -> Iterator[tuple[str, Model]]:
    def own_output(g: onnx.GraphProto) -> None:
        g.node[1].input[0] = "active"

    def two_node_cycle(g: onnx.GraphProto) -> None:
        g.node[0].input[0] = "active"

    def swapped(g: onnx.GraphProto) -> None:
        nodes = list(g.node)[::-1]
        del g.node[:]
        g.node.extend(nodes)

    def duplicate_value(g: onnx.GraphProto) -> None:
        g.node[1].output[0] = "features"

    def duplicate_of_input(g: onnx.GraphProto) -> None:
        g.node[1].output[0] = "image"

    def twice_in_outputs(g: onnx.GraphProto) -> None:
        g.output.append(g.output[0])

    def twice_in_inputs(g: onnx.GraphProto) -> None:
        g.input.append(g.input[0])

    def output_is_input(g: onnx.GraphProto) -> None:
        g.output[0].name = "image"

    def output_is_weight(g: onnx.GraphProto) -> None:
        g.output[0].name = "weights"

    def output_of_nobody(g: onnx.GraphProto) -> None:
        g.output[0].name = "nobody"

    def empty_names(g: onnx.GraphProto) -> None:
        for node in g.node:
            node.output[0] = ""

    def unnamed_input(g: onnx.GraphProto) -> None:
        g.input[0].name = ""

    def missing_required(g: onnx.GraphProto) -> None:
        g.node[0].input[1] = ""

    yield "own_output", _changed(own_output)
    yield "two_node_cycle", _changed(two_node_cycle)
    yield "swapped", _changed(swapped)
    yield "duplicate_value", _changed(duplicate_value)
    yield "duplicate_of_input", _changed(duplicate_of_input)
    yield "duplicate_initializer", _changed(lambda g: g.initializer.append(g.initializer[0]))
    yield "twice_in_outputs", _changed(twice_in_outputs)
    yield "twice_in_inputs", _changed(twice_in_inputs)
    yield "output_is_input", _changed(output_is_input)
    yield "output_is_weight", _changed(output_is_weight)
    yield "output_of_nobody", _changed(output_of_nobody)
    yield "empty_names", _changed(empty_names)
    yield "unnamed_input", _changed(unnamed_input)
    yield "missing_required", _changed(missing_required)
    yield "no_outputs", _changed(lambda g: g.ClearField("output"))
    yield "no_inputs", _changed(lambda g: g.ClearField("input"))
    yield "no_nodes", _changed(lambda g: g.ClearField("node"))
    yield "no_weights", _changed(lambda g: g.ClearField("initializer"))
    yield "node_without_outputs", _changed(lambda g: g.node[1].ClearField("output"))
    yield "node_without_inputs", _changed(lambda g: g.node[0].ClearField("input"))
    yield "too_many_inputs", _changed(lambda g: g.node[1].input.extend(["image"] * 40))
    yield "too_many_outputs", _changed(lambda g: g.node[1].output.extend(map(str, range(40))))
    yield "unknown_reference", _changed(lambda g: g.node[1].input.__setitem__(0, "nobody"))
    yield "no_operator", _changed(lambda g: setattr(g.node[1], "op_type", ""))
    yield "unknown_operator", _changed(lambda g: setattr(g.node[1], "op_type", "Explode"))
    yield "unknown_domain", _changed(lambda g: setattr(g.node[1], "domain", "evil.example"))
    yield "training_operator", _changed(lambda g: setattr(g.node[1], "op_type", "Gradient"))
    yield "no_graph", Model(ir_version=8, opset_import=[helper.make_opsetid("", 18)])


def _versions() -> Iterator[tuple[str, Model]]:
    for version in (-1, 0, 1, 3, 6, 999, 2**62):
        model = small("softmax")
        model.opset_import[0].version = version
        yield f"opset_{version}", model
    for version in (0, 1, 999):
        model = small("softmax")
        model.ir_version = version
        yield f"ir_{version}", model
    model = small("softmax")
    model.opset_import.append(helper.make_opsetid("", 11))
    yield "two_opsets", model
    model = small("softmax")
    del model.opset_import[:]
    yield "no_opset", model


def _types() -> Iterator[tuple[str, Model]]:
    def image_of(kind: int) -> Callable[[onnx.GraphProto], object]:
        return lambda g: setattr(g.input[0].type.tensor_type, "elem_type", kind)

    def sequence(g: onnx.GraphProto) -> None:
        kind = g.input[0].type.tensor_type
        g.input[0].type.CopyFrom(helper.make_sequence_type_proto(onnx.TypeProto(tensor_type=kind)))

    def optional(g: onnx.GraphProto) -> None:
        kind = g.input[0].type.tensor_type
        g.input[0].type.CopyFrom(helper.make_optional_type_proto(onnx.TypeProto(tensor_type=kind)))

    def weights_of(values: TensorProto) -> Callable[[onnx.GraphProto], object]:
        values.name = "weights"
        return lambda g: g.initializer[1].CopyFrom(values)

    for kind in ("STRING", "BOOL", "INT64", "COMPLEX64", "FLOAT8E4M3FN", "INT4", "UNDEFINED"):
        yield f"image_{kind}", _changed(image_of(TensorProto.DataType.Value(kind)))
    yield "image_99", _changed(image_of(99))
    yield "image_sequence", _changed(sequence)
    yield "image_optional", _changed(optional)
    yield "image_without_type", _changed(lambda g: g.input[0].ClearField("type"))
    yield "output_without_type", _changed(lambda g: g.output[0].ClearField("type"))
    yield (
        "output_string",
        _changed(lambda g: setattr(g.output[0].type.tensor_type, "elem_type", TensorProto.STRING)),
    )
    not_utf8: list[Any] = [b"\xff" * 9] * 20  # onnx's annotation lists only numbers
    words = helper.make_tensor("weights", TensorProto.STRING, [5, 4], not_utf8)
    yield "weights_string", _changed(weights_of(words))
    for dtype in (np.int64, np.float64, bool, np.complex64):
        values = numpy_helper.from_array(np.ones((5, 4), dtype))
        yield f"weights_{np.dtype(dtype)}", _changed(weights_of(values))


def _tensors() -> Iterator[tuple[str, Model]]:
    """Weights whose header lies."""

    def dims(*sizes: int) -> Callable[[onnx.GraphProto], None]:
        def change(g: onnx.GraphProto) -> None:
            del g.initializer[0].dims[:]
            g.initializer[0].dims.extend(sizes)

        return change

    for sizes in (
        (2**30, 2**30),
        (2**62, 4, 4, 4),
        (-1, 3, 3, 3),
        (-4, -3, 3, 3),
        (0, 3, 3, 3),
        (4, 3, 3),
        (4, 3, 3, 4),
        (1,) * 2000,
        (),
    ):
        name = "x".join(map(str, sizes[:5]))
        yield f"dims_{name}_{len(sizes)}", _changed(dims(*sizes))
    yield "type_0", _changed(lambda g: setattr(g.initializer[0], "data_type", 0))
    yield "type_99", _changed(lambda g: setattr(g.initializer[0], "data_type", 99))
    yield "type_wider", _changed(lambda g: setattr(g.initializer[0], "data_type", 11))
    yield "no_data", _changed(lambda g: g.initializer[0].ClearField("raw_data"))
    yield "two_data", _changed(lambda g: g.initializer[0].float_data.extend([1.0] * 500))
    yield "unnamed", _changed(lambda g: g.initializer[0].ClearField("name"))
    yield (
        "segment",
        _changed(lambda g: g.initializer[0].segment.CopyFrom(TensorProto.Segment(begin=5, end=-3))),
    )
    yield "nan", _changed(lambda g: g.initializer[0].CopyFrom(_filled(g.initializer[0], np.nan)))
    yield "inf", _changed(lambda g: g.initializer[0].CopyFrom(_filled(g.initializer[0], np.inf)))
    yield "zero", _changed(lambda g: g.initializer[1].CopyFrom(_filled(g.initializer[1], 0)))
    sparse = onnx.SparseTensorProto(dims=[2**40, 2**20])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), "weights"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0, 5, 2**50])))

    def make_sparse(g: onnx.GraphProto) -> None:
        del g.initializer[1]
        g.sparse_initializer.append(sparse)

    yield "sparse", _changed(make_sparse)


def _filled(tensor: TensorProto, value: float) -> TensorProto:
    return numpy_helper.from_array(np.full(tuple(tensor.dims), value, np.float32), tensor.name)


def _attributes() -> Iterator[tuple[str, Model]]:
    def conv(**attributes: Any) -> Callable[[onnx.GraphProto], None]:
        def change(g: onnx.GraphProto) -> None:
            given: dict[str, Any] = {"pads": [1, 1, 1, 1], **attributes}
            new = helper.make_node("Conv", ["image", "kernel"], ["features"], **given)
            g.node[0].CopyFrom(new)

        return change

    wrong: dict[str, dict[str, Any]] = {
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
    for name, attributes in wrong.items():
        yield f"conv_{name}", _changed(conv(**attributes))

    def of_no_type(g: onnx.GraphProto) -> None:
        g.node[0].attribute.append(AttributeProto(name="group"))

    def of_no_value(g: onnx.GraphProto) -> None:
        g.node[0].attribute.append(AttributeProto(name="group", type=AttributeProto.TENSOR))

    def referring(g: onnx.GraphProto) -> None:
        attribute = AttributeProto(name="group", type=AttributeProto.INT, ref_attr_name="outer")
        g.node[0].attribute.append(attribute)

    def twice(g: onnx.GraphProto) -> None:
        g.node[0].attribute.append(g.node[0].attribute[0])

    for change in (of_no_type, of_no_value, referring, twice):
        yield f"conv_{change.__name__}", _changed(change)
    for name, between in {
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
        "reshape_huge": (
            "to = Constant <value = int64[2] {4611686018427387904, 4}> () "
            "wide = Reshape (active, to)"
        ),
        "gather_far": "at = Constant <value = int64[1] {1000}> () "
        "wide = Gather <axis = 1> (active, at)",
        "squeeze_wide": "axes = Constant <value = int64[1] {1}> () wide = Squeeze (active, axes)",
        "split_bad": (
            "parts = Constant <value = int64[2] {1, 99}> () "
            "wide, other = Split <axis = 1> (active, parts)"
        ),
        "slice_step_0": (
            "a = Constant <value = int64[1] {0}> () b = Constant <value = int64[1] {9}> () "
            "c = Constant <value = int64[1] {1}> () wide = Slice (active, a, b, c, a)"
        ),
        "batch_norm": "wide = BatchNormalization (active, kernel, kernel, kernel, kernel)",
        "matmul": "wide = MatMul (active, kernel)",
        "constant_empty": "empty = Constant () wide = Add (active, empty)",
        "string_work": 'wide = StringNormalizer <case_change_action = "UPPER"> (active)',
    }.items():
        yield name, small(f"{between} mean = GlobalAveragePool (wide) {DENSE.format('mean')}")


def _between(text: str) -> Model:
    """`wide` between the features and the head."""
    return small(f"{text} mean = GlobalAveragePool (wide) {DENSE.format('mean')}")


def _sizes() -> Iterator[tuple[str, Model]]:
    """Small files that ask for much memory or time when they run."""
    ints = "{} = Constant <value = int64[4] {{{}}}> () "
    for name, text in {
        "resize_scales": (
            "scales = Constant <value = float[4] "
            "{1.0, 1.0, 1000000000.0, 1000000000.0}> () wide = Resize (active, , scales)"
        ),
        "resize_nan": (
            "scales = Constant <value = float[4] "
            "{1.0, 1.0, -1.0, 0.0}> () wide = Resize (active, , scales)"
        ),
        "resize_sizes": (
            "" + ints.format("to", f"1, 4, {HUGE}, {HUGE}") + "wide = Resize (active, , , to)"
        ),
        "pad": "pads = Constant <value = int64[8] "
        f"{{0, 0, {HUGE}, {HUGE}, 0, 0, {HUGE}, {HUGE}}}> () wide = Pad (active, pads)",
        "pad_negative": "pads = Constant <value = int64[8] {0, 0, -9, -9, 0, 0, -9, -9}> () "
        "wide = Pad (active, pads)",
        "expand": ints.format("to", f"1, 4, {HUGE}, 8") + "wide = Expand (pooled, to)",
        "tile": ints.format("to", f"1, 1, {10**6}, {10**6}") + "wide = Tile (active, to)",
        "transposed": "more = Constant <value = float[4, 4, 1, 1] {"
        + ", ".join(["1.0"] * 16)
        + "}> () wide = ConvTranspose <strides = [1000000000, 1000000000]> (active, more)",
        "upsampled_twice": ints.format("to", "1, 1, 4096, 4096")
        + "big = Tile (active, to) wide = Tile (big, to)",
    }.items():
        yield name, _between(text)
    for name, sizes in {
        "image_sides": (1, 3, 2**20, 2**20),
        "image_overflow": (1, 3, 2**40, 2**40),
        "image_channels": (1, 2**40, 8, 8),
        "image_batch": (2**40, 3, 8, 8),
        "image_batch_0": (0, 3, 8, 8),
        "image_batch_-1": (-1, 3, 8, 8),
        "image_empty": (1, 3, 0, 0),
        "image_negative": (1, 3, -8, -8),
        "image_rank_0": (),
        "image_rank_2000": (1,) * 2000,
    }.items():
        model = small("softmax")
        kind = helper.make_tensor_type_proto(TensorProto.FLOAT, list(sizes))
        model.graph.input[0].type.CopyFrom(kind)
        yield name, model
    text = "to = Constant <value = int64[2] {{1, {}}}> () scores = Expand (first, to)"
    first = (
        DENSE.format("pooled").replace("scores", "five")
        + " at = Constant <value = int64[1] {0}> () "
    )
    first += "first = Gather <axis = 1> (five, at) "
    for classes in (10**9, 2**40):
        model = small(first + text.format(classes))
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
        yield f"classes_{classes}", model


def _constants() -> Iterator[tuple[str, Model]]:
    """What folding constants would blow up."""
    add = "one = ReduceMax <keepdims = 0> (big) wide = Add (active, one)"
    three = "a = Constant <value = int64 {{{}}}> () b = Constant <value = int64 {{{}}}> () "
    three += "c = Constant <value = int64 {{{}}}> () numbers = Range (a, b, c) "
    real = "big = Cast <to = 1> (numbers) "
    for name, text in {
        "of_shape": f"to = Constant <value = int64[1] {{{HUGE}}}> () "
        f"big = ConstantOfShape (to) {add}",
        "of_shape_2^62": "to = Constant <value = int64[2] {4611686018427387904, 4}> () "
        f"big = ConstantOfShape (to) {add}",
        "of_shape_-1": f"to = Constant <value = int64[1] {{-1}}> () "
        f"big = ConstantOfShape (to) {add}",
        "range": three.format(0, HUGE, 1) + real + add,
        "range_step_0": three.format(0, HUGE, 0) + real + add,
        "range_2^62": three.format(-(2**62), 2**62, 1) + real + add,
        "expand": "f = Constant <value = float[1] {1.0}> () to = Constant <value = int64[2] "
        f"{{100000, 100000}}> () big = Expand (f, to) {add}",
        "tile": "f = Constant <value = float[1] {1.0}> () to = Constant <value = int64[1] "
        f"{{{HUGE}}}> () big = Tile (f, to) {add}",
        "pad": "f = Constant <value = float[1] {1.0}> () to = Constant <value = int64[2] "
        f"{{0, {HUGE}}}> () big = Pad (f, to) {add}",
        "one_hot": "i = Constant <value = int64[1] {3}> () "
        f"d = Constant <value = int64 {{{HUGE}}}> () "
        f"v = Constant <value = float[2] {{0.0, 1.0}}> () big = OneHot (i, d, v) {add}",
        "random": f"big = RandomNormal <shape = [100000, 100000]> () {add}",
        "hann": f"n = Constant <value = int64 {{{HUGE}}}> () big = HannWindow (n) {add}",
        "resize": "f = Constant <value = float[1, 1] {1.0}> () "
        "s = Constant <value = float[2] {100000.0, 100000.0}> () "
        f"big = Resize (f, , s) {add}",
        "trilu_eye": "to = Constant <value = int64[2] {100000, 100000}> () "
        "o = ConstantOfShape (to) "
        f"big = EyeLike (o) {add}",
        "doubled": "x0 = Constant <value = float[2] {1.0, 1.0}> () "
        + " ".join(f"x{i + 1} = Concat <axis = 0> (x{i}, x{i})" for i in range(40))
        + f" big = Identity (x40) {add}",
        "range_of_shape": "two = Constant <value = int64 {2}> () shape = Shape (active) "
        "side = Gather (shape, two) a = Constant <value = int64 {0}> () "
        f"c = Constant <value = int64 {{1}}> () many = Constant <value = int64 {{{HUGE}}}> () "
        f"b = Mul (side, many) numbers = Range (a, b, c) {real}{add}",
        "doubled_shape": "x0 = Shape (active) "
        + " ".join(f"x{i + 1} = Concat <axis = 0> (x{i}, x{i})" for i in range(40))
        + f" big = Cast <to = 1> (x40) {add}",
        "multiplied": "x0 = Constant <value = float[1, 4] {1.0, 1.0, 1.0, 1.0}> () "
        + " ".join(
            f"k{i} = Constant <value = int64[2] {{{4 ** (i + 1)}, 1}}> () "
            f"y{i} = Tile (x{i}, k{i}) m{i} = Constant <value = int64[2] {{1, -1}}> () "
            f"x{i + 1} = Reshape (y{i}, m{i})"
            for i in range(10)
        )
        + f" big = Identity (x10) {add}",
    }.items():
        yield name, _between(text)


def _recursions() -> Iterator[tuple[str, Model]]:
    relu = helper.make_node("Relu", ["x"], ["y"])

    def function(name: str, nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
        imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        return helper.make_function("own", name, ["x"], ["y"], nodes, imports)

    def calling(functions: list[onnx.FunctionProto]) -> Model:
        model = small("softmax")
        model.opset_import.append(helper.make_opsetid("own", 1))
        model.functions.extend(functions)
        node = helper.make_node(functions[0].name, ["features"], ["active"], domain="own")
        model.graph.node[1].CopyFrom(node)
        return model

    def call(name: str, x: str = "x", y: str = "y") -> onnx.NodeProto:
        return helper.make_node(name, [x], [y], domain="own")

    yield "function_of_itself", calling([function("F", [call("F")])])
    yield (
        "functions_of_each_other",
        calling([function("F", [call("G")]), function("G", [call("F")])]),
    )
    laughs = [
        function(f"F{i}", [call(f"F{i + 1}", "x", "m"), call(f"F{i + 1}", "m", "y")])
        for i in range(40)
    ]
    yield "billion_laughs", calling([*laughs, function("F40", [relu])])
    chain = [function(f"F{i}", [call(f"F{i + 1}")]) for i in range(2000)]
    yield "function_chain", calling([*chain, function("F2000", [relu])])
    yield "function_twice", calling([function("F", [relu]), function("F", [call("F")])])
    yield "function_of_standard_name", _standard_function()

    yield "nested_branches", _nested(12, constant=True)
    yield "nested_open_branches", _nested(30, constant=False)  # protobuf ends at 33
    for name, trips, condition in (
        ("loop_2^40", 2**40, True),
        ("loop_10^7", 10**7, True),
        ("loop_0", 0, True),
        ("loop_-1", -1, True),
        ("loop_never", 5, False),
    ):
        yield name, _loop(trips, condition)
    yield "loop_for_ever", _loop(None, True)
    yield "loops_in_loops", _loop(1000, True, depth=4)
    yield "loop_grows", _loop(60, True, body="Concat")
    long = small("softmax")
    nodes = [
        helper.make_node("Relu", [f"r{i}" if i else "features"], [f"r{i + 1}"]) for i in range(300)
    ]
    long.graph.node[1].input[0] = "r300"
    rest = list(long.graph.node)
    del long.graph.node[:]
    long.graph.node.extend([rest[0], *nodes, *rest[1:]])
    yield "long_chain", long


def _standard_function() -> Model:
    """A local function that takes the place of Relu."""
    model = small("softmax")
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    imports = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], nodes, imports))
    return model


def _nested(depth: int, constant: bool) -> Model:
    model = small("softmax")
    out = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["features"], ["b"])], "leaf", [], [out])
    for level in range(depth):
        leaf = helper.make_graph(
            [helper.make_node("Relu", ["features"], ["b"])], f"else{level}", [], [out]
        )
        node = helper.make_node("If", ["yes"], ["b"], then_branch=graph, else_branch=leaf)
        graph = helper.make_graph([node], f"then{level}", [], [out])
    node = helper.make_node("If", ["yes"], ["active"], then_branch=graph, else_branch=graph)
    model.graph.node[1].CopyFrom(node)
    if constant:
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        return model
    nodes = [
        helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["yes"], to=TensorProto.BOOL),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return model


def _loop(trips: int | None, condition: bool, depth: int = 1, body: str = "Relu") -> Model:
    model = small("softmax")
    weights = {"go": np.array(condition)}
    if trips is not None:
        weights["trips"] = np.array(trips, np.int64)
    number = "" if trips is None else "trips"

    def info(name: str, kind: int, shape: list[int] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def make(level: int, x: str, y: str) -> onnx.NodeProto:
        inside, made = f"x{level}", f"y{level}"
        if level > 1:
            work = make(level - 1, inside, made)
        elif body == "Concat":
            work = helper.make_node("Concat", [inside, inside], [made], axis=2)
        else:
            work = helper.make_node(body, [inside], [made])
        go = helper.make_node("Identity", [f"c{level}"], [f"d{level}"])
        graph = helper.make_graph(
            [go, work],
            f"body{level}",
            [
                info(f"i{level}", TensorProto.INT64, []),
                info(f"c{level}", TensorProto.BOOL, []),
                info(inside, TensorProto.FLOAT, None),
            ],
            [info(f"d{level}", TensorProto.BOOL, []), info(made, TensorProto.FLOAT, None)],
        )
        return helper.make_node("Loop", [number, "go", x], [y], body=graph)

    model.graph.node[1].CopyFrom(make(depth, "features", "active"))
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items())
    return model


def _inputs() -> Iterator[tuple[str, Model]]:
    yield "two_images", _changed(_second_image)
    yield "not_from_the_image", _changed(_scores_of_weights)
    yield "image_unused", _changed(lambda g: g.node[0].input.__setitem__(0, "kernel"))


def _second_image(g: onnx.GraphProto) -> None:
    second = g.input.add()
    second.CopyFrom(g.input[0])
    second.name = "image2"


def _scores_of_weights(g: onnx.GraphProto) -> None:
    del g.node[:]
    g.node.append(helper.make_node("Relu", ["weights"], ["scores"]))


def _names() -> Iterator[tuple[str, Model]]:
    for name, scopes in {
        "scopes_number": "5",
        "scopes_mapping": "{1: 2}",
        "scopes_nested": "[" * 100_000,
        "scopes_deep": "[" * 80 + "]" * 80,
        "scopes_code": "__import__('os').system('true')",
        "scopes_types": "[1, None, 'a', ['b']]",
        "scopes_sum": "-" * 50_000 + "1",
    }.items():
        model = small("softmax")
        model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
        yield name, model
    for name, called in {
        "long": "x" * 10**6,
        "escape": "\x1b]0;owned\x07\x1b[2J\n",
        "path": "../../../../etc/passwd",
        "slashes": "/" * 100_000,
        "nul": "a\0b",
        "target": "target",
        "prefix": "adcc/Where",
        "logits": "logits",
    }.items():
        model = small("softmax")
        for node in model.graph.node[:2]:
            for values in (node.input, node.output):
                for i, value in enumerate(values):
                    values[i] = called if value == "features" else value
        model.graph.node[0].name = called
        yield name, model
    raw = small("softmax").SerializeToString()
    yield "not_utf8", raw.replace(b"features", b"feat\xff\xfe\xfds")


def _external() -> Iterator[tuple[str, Callable[[Path], None]]]:
    content = SOUND.graph.initializer[0].raw_data

    def case(
        location: str,
        prepare: Callable[[Path], object] = lambda folder: None,
        put: Callable[[Model, TensorProto], Model] | None = None,
        **entries: str,
    ) -> Callable[[Path], None]:
        def make(folder: Path) -> None:
            (folder.parent / f"{folder.name}.outside").write_bytes(content)
            (folder / "inside.bin").write_bytes(content)
            prepare(folder)
            place = location.replace("OUTSIDE", str(folder.parent / f"{folder.name}.outside"))
            model = small("softmax")
            kernel = model.graph.initializer[0]
            kernel.ClearField("raw_data")
            kernel.data_location = TensorProto.EXTERNAL
            for key, value in {"location": place, **entries}.items():
                kernel.external_data.add(key=key, value=value)
            if put is not None:
                tensor = TensorProto()
                tensor.CopyFrom(kernel)
                kernel.CopyFrom(SOUND.graph.initializer[0])
                model = put(model, tensor)
            (folder / "model.onnx").write_bytes(model.SerializeToString())

        return make

    def outside(folder: Path) -> str:
        return f"{folder.name}.outside"

    def link(folder: Path) -> None:
        (folder / "link.bin").symlink_to(folder.parent / outside(folder))

    def linked_folder(folder: Path) -> None:
        (folder / "sub").symlink_to(folder.parent)
        (folder.parent / "weights.bin").write_bytes(content)

    def link_inside(folder: Path) -> None:
        (folder / "link.bin").symlink_to("inside.bin")

    yield "absolute", case("OUTSIDE")
    yield "proc", case("/proc/self/environ")
    yield "parent", case("../external-parent.outside")
    yield "parent_hidden", case("sub/../../external-parent_hidden.outside")
    yield "link", case("link.bin", link)
    yield "linked_folder", case("sub/weights.bin", linked_folder)
    yield "link_inside", case("link.bin", link_inside)
    yield "missing", case("nobody.bin")
    yield "itself", case("model.onnx", length="432")
    yield "folder", case(".")
    yield "empty_location", case("")
    yield "nul", case("a\0b")
    yield "device", case("/dev/zero")
    yield "pipe", case("pipe", lambda folder: os.mkfifo(folder / "pipe"))
    yield "offset_beyond", case("inside.bin", offset=str(2**40))
    yield "offset_negative", case("inside.bin", offset="-16")
    yield "offset_odd", case("inside.bin", offset="3", length="400")
    yield "length_beyond", case("inside.bin", length=str(2**50))
    yield "length_negative", case("inside.bin", length="-5")
    yield "length_word", case("inside.bin", length="many")
    yield "length_short", case("inside.bin", length="8")
    yield "huge_dims", case("inside.bin", put=_as_huge)
    for where, put in (
        ("constant", _in_constant),
        ("branch", _in_branch),
        ("function", _in_function),
        ("sparse", _in_sparse),
    ):
        yield f"{where}_absolute", case("OUTSIDE", put=put)
        yield f"{where}_inside", case("inside.bin", put=put)


def _as_huge(model: Model, tensor: TensorProto) -> Model:
    tensor.dims[0] = 2**50
    model.graph.initializer[0].CopyFrom(tensor)
    return model


def _kernel_from(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["kernel"], value=tensor)


def _in_constant(model: Model, tensor: TensorProto) -> Model:
    nodes = [_kernel_from(tensor), *model.graph.node]
    del model.graph.initializer[0], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _in_branch(model: Model, tensor: TensorProto) -> Model:
    out = helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [4, 3, 3, 3])
    tensor.name = "inner"
    graph = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["kernel"])], "branch", [], [out], [tensor]
    )
    choice = helper.make_node("If", ["yes"], ["kernel"], then_branch=graph, else_branch=graph)
    nodes = [choice, *model.graph.node]
    del model.graph.initializer[0], model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    return model


def _in_function(model: Model, tensor: TensorProto) -> Model:
    imports = [helper.make_opsetid("", 18)]
    made = helper.make_function("own", "K", [], ["kernel"], [_kernel_from(tensor)], imports)
    model.functions.append(made)
    model.opset_import.append(helper.make_opsetid("own", 1))
    nodes = [helper.make_node("K", [], ["kernel"], domain="own"), *model.graph.node]
    del model.graph.initializer[0], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _in_sparse(model: Model, tensor: TensorProto) -> Model:
    sparse = onnx.SparseTensorProto(dims=[4, 3, 3, 3], values=tensor)
    del sparse.values.dims[:]
    sparse.values.dims.append(108)
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(108)))
    del model.graph.initializer[0]
    model.graph.sparse_initializer.append(sparse)
    return model
