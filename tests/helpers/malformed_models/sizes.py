"""Small files that ask for much memory or time, when they run or when constants are folded."""

from __future__ import annotations

from onnx import TensorProto, helper

from helpers.malformed_models.base import DENSE, HUGE, Cases, with_layer
from helpers.small_models import small

_INTS = "{} = Constant <value = int64[4] {{{}}}> () "
# Operators between `active` and `wide` whose result is huge.
_LAYERS = {
    "resize_scales": "scales = Constant <value = float[4] "
    "{1.0, 1.0, 1000000000.0, 1000000000.0}> () wide = Resize (active, , scales)",
    "resize_nan": "scales = Constant <value = float[4] "
    "{1.0, 1.0, -1.0, 0.0}> () wide = Resize (active, , scales)",
    "resize_sizes": _INTS.format("to", f"1, 4, {HUGE}, {HUGE}") + "wide = Resize (active, , , to)",
    "pad": "pads = Constant <value = int64[8] "
    f"{{0, 0, {HUGE}, {HUGE}, 0, 0, {HUGE}, {HUGE}}}> () wide = Pad (active, pads)",
    "pad_negative": "pads = Constant <value = int64[8] {0, 0, -9, -9, 0, 0, -9, -9}> () "
    "wide = Pad (active, pads)",
    "expand": _INTS.format("to", f"1, 4, {HUGE}, 8") + "wide = Expand (pooled, to)",
    "tile": _INTS.format("to", f"1, 1, {10**6}, {10**6}") + "wide = Tile (active, to)",
    "transposed": "more = Constant <value = float[4, 4, 1, 1] {"
    + ", ".join(["1.0"] * 16)
    + "}> () wide = ConvTranspose <strides = [1000000000, 1000000000]> (active, more)",
    "upsampled_twice": _INTS.format("to", "1, 1, 4096, 4096")
    + "big = Tile (active, to) wide = Tile (big, to)",
}
_IMAGES: dict[str, tuple[int, ...]] = {
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
}
_ADD = "one = ReduceMax <keepdims = 0> (big) wide = Add (active, one)"
_RANGE = (
    "a = Constant <value = int64 {{{}}}> () b = Constant <value = int64 {{{}}}> () "
    "c = Constant <value = int64 {{{}}}> () numbers = Range (a, b, c) "
)
_CAST = "big = Cast <to = 1> (numbers) "
_DOUBLED = " ".join(f"x{i + 1} = Concat <axis = 0> (x{i}, x{i})" for i in range(40))
_MULTIPLIED = " ".join(
    f"k{i} = Constant <value = int64[2] {{{4 ** (i + 1)}, 1}}> () "
    f"y{i} = Tile (x{i}, k{i}) m{i} = Constant <value = int64[2] {{1, -1}}> () "
    f"x{i + 1} = Reshape (y{i}, m{i})"
    for i in range(10)
)
# Constants `big` that are huge once they are folded.
_CONSTANTS = {
    "of_shape": f"to = Constant <value = int64[1] {{{HUGE}}}> () big = ConstantOfShape (to) {_ADD}",
    "of_shape_2^62": "to = Constant <value = int64[2] {4611686018427387904, 4}> () "
    f"big = ConstantOfShape (to) {_ADD}",
    "of_shape_-1": f"to = Constant <value = int64[1] {{-1}}> () big = ConstantOfShape (to) {_ADD}",
    "range": _RANGE.format(0, HUGE, 1) + _CAST + _ADD,
    "range_step_0": _RANGE.format(0, HUGE, 0) + _CAST + _ADD,
    "range_2^62": _RANGE.format(-(2**62), 2**62, 1) + _CAST + _ADD,
    "expand": "f = Constant <value = float[1] {1.0}> () to = Constant <value = int64[2] "
    f"{{100000, 100000}}> () big = Expand (f, to) {_ADD}",
    "tile": "f = Constant <value = float[1] {1.0}> () to = Constant <value = int64[1] "
    f"{{{HUGE}}}> () big = Tile (f, to) {_ADD}",
    "pad": "f = Constant <value = float[1] {1.0}> () to = Constant <value = int64[2] "
    f"{{0, {HUGE}}}> () big = Pad (f, to) {_ADD}",
    "one_hot": "i = Constant <value = int64[1] {3}> () "
    f"d = Constant <value = int64 {{{HUGE}}}> () "
    f"v = Constant <value = float[2] {{0.0, 1.0}}> () big = OneHot (i, d, v) {_ADD}",
    "random": f"big = RandomNormal <shape = [100000, 100000]> () {_ADD}",
    "hann": f"n = Constant <value = int64 {{{HUGE}}}> () big = HannWindow (n) {_ADD}",
    "resize": "f = Constant <value = float[1, 1] {1.0}> () "
    "s = Constant <value = float[2] {100000.0, 100000.0}> () "
    f"big = Resize (f, , s) {_ADD}",
    "trilu_eye": "to = Constant <value = int64[2] {100000, 100000}> () "
    f"o = ConstantOfShape (to) big = EyeLike (o) {_ADD}",
    "doubled": "x0 = Constant <value = float[2] {1.0, 1.0}> () "
    f"{_DOUBLED} big = Identity (x40) {_ADD}",
    "range_of_shape": "two = Constant <value = int64 {2}> () shape = Shape (active) "
    "side = Gather (shape, two) a = Constant <value = int64 {0}> () "
    f"c = Constant <value = int64 {{1}}> () many = Constant <value = int64 {{{HUGE}}}> () "
    f"b = Mul (side, many) numbers = Range (a, b, c) {_CAST}{_ADD}",
    "doubled_shape": f"x0 = Shape (active) {_DOUBLED} big = Cast <to = 1> (x40) {_ADD}",
    "multiplied": "x0 = Constant <value = float[1, 4] {1.0, 1.0, 1.0, 1.0}> () "
    f"{_MULTIPLIED} big = Identity (x10) {_ADD}",
}


def sizes() -> Cases:
    """Yield models with huge intermediate values, images or scores."""
    for name, text in _LAYERS.items():
        yield name, with_layer(text)
    for name, dims in _IMAGES.items():
        model = small("softmax")
        kind = helper.make_tensor_type_proto(TensorProto.FLOAT, list(dims))
        model.graph.input[0].type.CopyFrom(kind)
        yield name, model
    first = (
        DENSE.format("pooled").replace("scores", "five")
        + " at = Constant <value = int64[1] {0}> () first = Gather <axis = 1> (five, at) "
    )
    for classes in (10**9, 2**40):
        text = f"to = Constant <value = int64[2] {{1, {classes}}}> () scores = Expand (first, to)"
        model = small(first + text)
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
        yield f"classes_{classes}", model


def constants() -> Cases:
    """Yield models with constants that folding would make huge."""
    for name, text in _CONSTANTS.items():
        yield name, with_layer(text)
