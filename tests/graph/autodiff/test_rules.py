"""Tests of every gradient rule, one line per case: axes, broadcasting, groups, dilations, ties."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.central_differences import Case, differences, differentiate, evaluator

from adcc_onnx.graph.autodiff.rules.rule_registry import supported_operators

torch = pytest.importorskip("torch")
F = torch.nn.functional

# Float32 rounding errors of a few operators, relative to the largest gradient.
TOLERANCE = 1e-4
X = (2, 3, 4)
IMAGE = (2, 4, 5, 6)
POSITIVE = np.linspace(0.3, 2.0, 24).reshape(X)
AXES = partial(np.array, dtype=np.int64)


def unary(op: str, values: Any = X, **options: Any) -> Case:
    return Case(f"y = {op} (x)", {"x": values}, **options)


def binary(op: str, a: Any, b: Any, **options: Any) -> Case:
    return Case(
        f"y = {op} (x, z)", {"x": a, "z": b}, ("x", "z"), label=f"{op} {a} {b}"[:80], **options
    )


def conv(attributes: str, x: Any, w: Any, forward: Any, **options: Any) -> Case:
    return Case(f"y = Conv <{attributes}> (x, w)", {"x": x, "w": w}, forward=forward, **options)


def transposed(attributes: str, x: Any, w: Any, forward: Any = None) -> Case:
    return Case(f"y = ConvTranspose <{attributes}> (x, w)", {"x": x, "w": w}, forward=forward)


def reduce(op: str, attributes: str, axes: list[int] | None, values: Any = X) -> Case:
    inputs = {"x": values} | ({} if axes is None else {"axes": AXES(axes)})
    names = "x" if axes is None else "x, axes"
    return Case(f"y = {op} <{attributes}> ({names})", inputs, label=f"{op} {attributes} {axes}")


def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    axes = tuple(range(1, x.dim()))
    centered = x - x.mean(axes, keepdim=True)
    return centered / (centered.square().mean(axes, keepdim=True) + 1e-5).sqrt() * scale + bias


def group_norm(x: Any, scale: Any, bias: Any, groups: int = 2) -> Any:
    return F.group_norm(x, groups, scale, bias)


def same_conv(before: int, after: int, x: Any, w: Any) -> Any:
    return F.conv2d(F.pad(x, (before, after, before, after)), w, stride=2)


ELEMENTWISE = [
    *(binary(op, X, X) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *(binary(op, X, (4,)) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *(binary(op, (2, 1, 4), (3, 1)) for op in ("Add", "Mul", "Div")),
    *(binary(op, (1, 3, 4), (5, 3, 1), symbolic=False) for op in ("Add", "Mul", "Div")),
    *(binary(op, (1, 3, 4), ()) for op in ("Add", "Sub", "Mul")),
    binary("Mul", (4,), X, symbolic=False),
    Case("y = Sum (x, z, v)", {"x": X, "z": (3, 1), "v": (4,)}, ("x", "z", "v")),
    Case("y = Mean (x, z, v)", {"x": X, "z": (3, 1), "v": (4,)}, ("x", "z", "v")),
    Case("y = Max (x, z, v)", {"x": X, "z": (3, 1), "v": (4,)}, ("x", "z", "v")),
    Case("y = Pow (x, z)", {"x": POSITIVE, "z": (4,)}, ("x", "z"), label="Pow, any exponent"),
    Case("y = Pow (x, z)", {"x": X, "z": np.array(3.0)}, label="Pow, cube of a negative base"),
    Case("y = Pow (x, z)", {"x": X, "z": np.array(2, np.int64)}, label="Pow, whole exponent"),
    Case("c = Greater (x, z) y = Where (c, x, z)", {"x": X, "z": (4,)}, ("x", "z")),
    *(
        unary(op)
        for op in ("Identity", "Dropout", "Neg", "Abs", "Exp", "Sin", "Cos", "Atan", "Tanh")
    ),
    *(unary(op) for op in ("Sign", "Floor", "Ceil", "Round")),
    *(unary(op, POSITIVE) for op in ("Reciprocal", "Sqrt", "Log")),
    unary("Erf", forward=torch.erf),
    Case("h = Cast <to = 1> (x) y = Exp (h)", {"x": X}, forward=torch.exp, label="Cast"),
    Case("y = Clip (x, lo, hi)", {"x": X, "lo": np.array(-0.6), "hi": np.array(0.9)}),
    Case("y = Clip (x, lo)", {"x": X, "lo": np.array(-0.6)}),
    Case("y = Clip (x, , hi)", {"x": X, "hi": np.array(0.6)}),
    unary("Clip"),
]
ACTIVATIONS = [
    *(unary(op) for op in ("Relu", "LeakyRelu", "Elu", "Celu", "Selu", "Sigmoid", "HardSigmoid")),
    *(unary(op) for op in ("HardSwish", "Softplus", "Softsign", "Mish", "ThresholdedRelu")),
    unary("LeakyRelu <alpha = 0.3>"),
    unary("Elu <alpha = 0.4>"),
    unary("Celu <alpha = 0.4>"),
    unary("HardSigmoid <alpha = 0.5, beta = 0.4>"),
    unary("HardSwish", (2, 30), label="HardSwish, all three pieces"),
    unary("Gelu", opset=20, forward=F.gelu),
    unary('Gelu <approximate = "tanh">', opset=20, forward=partial(F.gelu, approximate="tanh")),
    unary("Swish <alpha = 1.3>", opset=24, forward=lambda x: x * torch.sigmoid(1.3 * x)),
    Case("y = PRelu (x, z)", {"x": X, "z": (3, 1)}, ("x", "z")),
]
LINEAR = [
    Case("y = Gemm (x, b, c)", {"x": (3, 4), "b": (4, 5), "c": (5,)}, ("x", "b", "c")),
    Case(
        "y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, b, c)",
        {"x": (3, 4), "b": (5, 4), "c": (3, 1)},
        ("x", "b", "c"),
        symbolic=False,
    ),
    Case("y = Gemm <transA = 1> (x, b)", {"x": (4, 3), "b": (4, 5)}, ("x", "b")),
    Case("y = Gemm <transA = 1, transB = 1> (x, b)", {"x": (4, 3), "b": (5, 4)}, ("x", "b")),
    *(
        binary("MatMul", a, b, symbolic=symbolic)
        for a, b, symbolic in [
            ((3, 4), (4, 5), True),
            ((2, 3, 4), (4, 5), True),
            ((2, 3, 4), (2, 4, 5), True),
            ((2, 1, 3, 4), (6, 4, 5), True),
            ((3, 4), (2, 4, 5), False),
            ((1, 3, 4), (2, 4, 5), False),
            ((4,), (4, 5), False),
            ((4,), (2, 4, 5), False),
            ((2, 3, 4), (4,), True),
            ((4,), (4,), False),
        ]
    ),
    Case('y = Einsum <equation = "bij,bkj->bik"> (x, z)', {"x": X, "z": (2, 5, 4)}, ("x", "z")),
    Case(
        'y = Einsum <equation = "...ij,...jk->...ik"> (x, z)',
        {"x": X, "z": (2, 4, 5)},
        ("x", "z"),
        symbolic=False,
    ),
    Case('y = Einsum <equation = "bij->bi"> (x)', {"x": X}),
    Case('y = Einsum <equation = "bij,j"> (x, z)', {"x": X, "z": (4,)}, ("x", "z")),
]
CONVOLUTIONS = [
    conv("pads = [1, 1, 1, 1]", IMAGE, (3, 4, 3, 3), partial(F.conv2d, padding=1)),
    conv(
        "strides = [2, 2]", IMAGE, (3, 4, 2, 3), partial(F.conv2d, stride=2), label="rows left over"
    ),
    conv(
        "strides = [3, 2], pads = [0, 1, 2, 0]",
        IMAGE,
        (3, 4, 2, 3),
        lambda x, w: F.conv2d(F.pad(x, (1, 0, 0, 2)), w, stride=(3, 2)),
    ),
    conv(
        "dilations = [2, 2], pads = [2, 2, 2, 2]",
        IMAGE,
        (3, 4, 3, 3),
        partial(F.conv2d, padding=2, dilation=2),
    ),
    conv(
        "group = 2, pads = [1, 1, 1, 1]",
        IMAGE,
        (6, 2, 3, 3),
        partial(F.conv2d, padding=1, groups=2),
    ),
    conv("group = 2, strides = [2, 2]", IMAGE, (6, 2, 3, 3), partial(F.conv2d, stride=2, groups=2)),
    conv(
        "group = 4, pads = [1, 1, 1, 1]",
        IMAGE,
        (4, 1, 3, 3),
        partial(F.conv2d, padding=1, groups=4),
    ),
    conv(
        "group = 4, pads = [2, 1, 0, 1], dilations = [1, 2]",
        IMAGE,
        (8, 1, 3, 2),
        lambda x, w: F.conv2d(F.pad(x, (1, 1, 2, 0)), w, groups=4, dilation=(1, 2)),
    ),
    conv(
        "group = 4, pads = [3, 3, 3, 3]",
        IMAGE,
        (4, 1, 2, 2),
        partial(F.conv2d, padding=3, groups=4),
        label="Conv, pads beyond the kernel",
    ),
    conv(
        "pads = [2, 2, 2, 2]",
        IMAGE,
        (3, 4, 1, 1),
        partial(F.conv2d, padding=2),
        label="1 x 1, padded",
    ),
    conv(
        'auto_pad = "SAME_UPPER", strides = [2, 2]',
        (2, 2, 5, 5),
        (3, 2, 2, 2),
        partial(same_conv, 0, 1),
    ),
    conv(
        'auto_pad = "SAME_LOWER", strides = [2, 2]',
        (2, 2, 5, 5),
        (3, 2, 2, 2),
        partial(same_conv, 1, 0),
    ),
    conv('auto_pad = "VALID"', (2, 2, 5, 5), (3, 2, 2, 2), F.conv2d),
    conv("pads = [1, 1]", (2, 3, 7), (4, 3, 3), partial(F.conv1d, padding=1)),
    conv(
        "strides = [2, 1, 2]", (1, 2, 4, 3, 5), (2, 2, 2, 2, 2), partial(F.conv3d, stride=(2, 1, 2))
    ),
    Case(
        "y = Conv (x, w, b)",
        {"x": (1, 2, 3, 3), "w": (2, 2, 2, 2), "b": (2,)},
        ("x", "b"),
        forward=F.conv2d,
    ),
    transposed(
        "strides = [2, 2]", (2, 3, 3, 4), (3, 2, 3, 3), partial(F.conv_transpose2d, stride=2)
    ),
    transposed(
        "strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]",
        (2, 3, 3, 4),
        (3, 2, 3, 3),
        partial(F.conv_transpose2d, stride=2, padding=1, output_padding=1),
    ),
    transposed(
        "group = 3, dilations = [2, 1]",
        (2, 3, 3, 4),
        (3, 2, 2, 3),
        partial(F.conv_transpose2d, groups=3, dilation=(2, 1)),
    ),
    transposed(
        "strides = [2, 2], output_shape = [6, 8]",
        (2, 3, 3, 4),
        (3, 2, 3, 3),
        lambda x, w: F.conv_transpose2d(x, w, stride=2)[:, :, 1:, 1:],
    ),
]
POOLS = [
    unary("MaxPool <kernel_shape = [2, 2], strides = [2, 2]>", IMAGE),
    unary("MaxPool <kernel_shape = [3, 3]>", IMAGE),
    unary(
        "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>",
        IMAGE,
        forward=partial(F.max_pool2d, kernel_size=3, stride=2, padding=1),
    ),
    unary(
        "MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>",
        IMAGE,
        forward=partial(F.max_pool2d, kernel_size=3, stride=2, ceil_mode=True),
    ),
    unary(
        "MaxPool <kernel_shape = [2, 2], dilations = [2, 2]>",
        IMAGE,
        forward=partial(F.max_pool2d, kernel_size=2, stride=1, dilation=2),
    ),
    unary(
        "MaxPool <kernel_shape = [2, 2], pads = [0, 0, 1, 1]>",
        IMAGE,
        forward=lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-99.0), 2, 1),
    ),
    unary("MaxPool <kernel_shape = [3], strides = [2]>", (2, 2, 7)),
    unary(
        "MaxPool <kernel_shape = [2, 2, 2]>",
        (1, 2, 3, 3, 3),
        forward=partial(F.max_pool3d, kernel_size=2, stride=1),
    ),
    unary(
        'MaxPool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_UPPER">',
        (1, 2, 5, 5),
        forward=lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-99.0), 2, 2),
    ),
    unary("AveragePool <kernel_shape = [2, 2], strides = [2, 2]>", IMAGE),
    unary(
        "AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>",
        IMAGE,
        forward=partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False),
    ),
    unary(
        "AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>",
        IMAGE,
        forward=partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1),
    ),
    unary("AveragePool <kernel_shape = [3, 2], strides = [2, 3], pads = [1, 0, 0, 1]>", IMAGE),
    unary(
        "AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>",
        IMAGE,
        forward=partial(F.avg_pool2d, kernel_size=3, stride=2, ceil_mode=True),
    ),
    unary(
        "AveragePool <kernel_shape = [1, 2], strides = [3, 3]>", IMAGE, label="stride beyond kernel"
    ),
    unary("AveragePool <kernel_shape = [5, 6]>", IMAGE, label="AveragePool, the whole map"),
    unary("GlobalAveragePool", IMAGE),
    unary("GlobalMaxPool", IMAGE),
    unary("GlobalAveragePool", X),
]
NORMALIZATIONS = [
    *(
        Case(f"y = {op} <axis = {axis}> (x)", {"x": X})
        for op in ("Softmax", "LogSoftmax")
        for axis in (-1, 1, 0)
    ),
    Case(
        "y = BatchNormalization <epsilon = 0.01> (x, s, b, m, v)",
        {"x": IMAGE, "s": (4,), "b": (4,), "m": (4,), "v": np.array([0.5, 1.0, 2.0, 3.0])},
    ),
    Case(
        "y = LayerNormalization (x, s, b)",
        {"x": X, "s": (4,), "b": (4,)},
        ("x", "s", "b"),
        forward=lambda x, s, b: F.layer_norm(x, (4,), s, b),
    ),
    Case(
        "y = LayerNormalization <axis = 1> (x, s, b)",
        {"x": X, "s": (3, 4), "b": (3, 4)},
        ("x", "s", "b"),
        forward=layer_norm,
    ),
    Case(
        "y = LayerNormalization (x, s)",
        {"x": X, "s": (4,)},
        forward=lambda x, s: F.layer_norm(x, (4,), s),
    ),
    Case(
        "y = RMSNormalization <epsilon = 0.00001> (x, s)",
        {"x": X, "s": (4,)},
        opset=23,
        forward=lambda x, s: F.rms_norm(x, (4,), s, 1e-5),
    ),
    Case("y = InstanceNormalization (x, s, b)", {"x": IMAGE, "s": (4,), "b": (4,)}),
    Case(
        "y = GroupNormalization <num_groups = 2> (x, s, b)",
        {"x": IMAGE, "s": (4,), "b": (4,)},
        opset=21,
        forward=group_norm,
    ),
    Case(
        "y = GroupNormalization <num_groups = 2> (x, s, b)",
        {"x": IMAGE, "s": (2,), "b": (2,)},
        opset=18,
        forward=lambda x, s, b: group_norm(x, s.repeat_interleave(2), b.repeat_interleave(2)),
        label="GroupNormalization, a scale a group",
        deprecated=True,
    ),
    Case("y = LpNormalization <axis = 1> (x)", {"x": X}),
    # onnx.reference omits the absolute value.
    Case(
        "y = LpNormalization <axis = -1, p = 1> (x)",
        {"x": X},
        forward=partial(F.normalize, p=1, dim=-1),
    ),
    *(
        Case(
            f"y = LRN <size = {size}, alpha = 0.5, beta = 0.7, bias = 1.5> (x)",
            {"x": (2, 6, 2, 3)},
            forward=partial(F.local_response_norm, size=size, alpha=0.5, beta=0.7, k=1.5),
        )
        for size in (3, 5)
    ),
]
REDUCTIONS = [
    *(
        reduce(op, attributes, axes, POSITIVE if op in ("ReduceLogSum", "ReduceProd") else X)
        for op in (
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceSumSquare",
            "ReduceLogSum",
            "ReduceLogSumExp",
        )
        for attributes, axes in (("keepdims = 0", [-1]), ("keepdims = 1", [1, 2]))
    ),
    reduce("ReduceMean", "keepdims = 0", None),
    reduce("ReduceSum", "keepdims = 1", None),
    reduce("ReduceSum", "keepdims = 0, noop_with_empty_axes = 1", []),
    reduce("ReduceMean", "keepdims = 0", [0]),
    reduce("ReduceProd", "keepdims = 0", [1], np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 1.0]])),
]
SHAPES = [
    Case("y = Reshape (x, s)", {"x": X, "s": AXES([-1, 4])}),
    Case("y = Reshape (x, s)", {"x": X, "s": AXES([0, 12])}, label="Reshape, 0 keeps the batch"),
    Case("y = Flatten <axis = 2> (x)", {"x": X}),
    Case("y = Squeeze (x, a)", {"x": (2, 1, 3), "a": AXES([1])}),
    Case("y = Unsqueeze (x, a)", {"x": X, "a": AXES([-1, 0])}),
    Case("y = Transpose <perm = [1, 2, 0]> (x)", {"x": X}),
    Case("y = Transpose (x)", {"x": X}),
    Case("y = Expand (x, s)", {"x": (2, 1, 4), "s": AXES([5, 1, 3, 1])}, symbolic=False),
    Case("y = Expand (x, s)", {"x": (2, 1, 4), "s": AXES([1, 3, 1])}),
    Case("y = Concat <axis = 1> (x, z, x)", {"x": X, "z": (2, 1, 4)}, ("x", "z")),
    Case("y = Concat <axis = -1> (x, z)", {"x": X, "z": (2, 3, 1)}, ("x", "z")),
    Case("y = Concat <axis = 0> (x, x)", {"x": X}, label="Concat along the open axis"),
    Case(
        "a, b, c = Split <axis = 1> (x, s) y = Mul (a, c)", {"x": (2, 5, 2), "s": AXES([2, 1, 2])}
    ),
    Case("a, b = Split <axis = -1, num_outputs = 2> (x) y = Mul (a, b)", {"x": X}),
    Case(
        "y = Slice (x, s, e, a)",
        {"x": X, "s": AXES([1, -3]), "e": AXES([3, 99]), "a": AXES([1, -1])},
    ),
    Case(
        "y = Slice (x, s, e, a, t)",
        {"x": X, "s": AXES([0]), "e": AXES([4]), "a": AXES([2]), "t": AXES([2])},
    ),
    Case(
        "y = Slice (x, s, e, a, t)",
        {"x": X, "s": AXES([-1]), "e": AXES([-99]), "a": AXES([2]), "t": AXES([-1])},
        label="Slice backwards",
    ),
    Case(
        "y = Slice (x, s, e)",
        {"x": X, "s": AXES([1]), "e": AXES([2])},
        label="Slice of the open axis",
    ),
    Case(
        "n = Shape <start = 1, end = 2> (x) y = Slice (x, s, n, a)",
        {"x": X, "s": AXES([1]), "a": AXES([2])},
        label="Slice, bounds from a shape",
    ),
    Case(
        "y = Pad (x, p)",
        {"x": X, "p": AXES([0, 1, 2, 0, 0, -1])},
        forward=lambda x, p: F.pad(x, (2, -1, 1, 0)),
        label="Pad, cutting one side",
    ),
    Case("y = Pad (x, p, , a)", {"x": X, "p": AXES([1, 2]), "a": AXES([-1])}),
    *(
        Case(f'y = Pad <mode = "{mode}"> (x, p)', {"x": X, "p": AXES([0, 1, 2, 0, 1, 1])}, opset=19)
        for mode in ("reflect", "edge", "wrap")
    ),
    Case("y = Tile (x, r)", {"x": X, "r": AXES([1, 2, 3])}),
    *(
        Case(f'y = DepthToSpace <blocksize = 2, mode = "{mode}"> (x)', {"x": (2, 8, 2, 3)})
        for mode in ("DCR", "CRD")
    ),
    Case("y = SpaceToDepth <blocksize = 2> (x)", {"x": (2, 2, 4, 6)}),
    Case("y = CumSum <exclusive = 1> (x, a)", {"x": X, "a": np.array(1)}),
    Case("y = CumSum <reverse = 1> (x, a)", {"x": X, "a": np.array(-1)}),
    Case("y = Trilu <upper = 0> (x, k)", {"x": X, "k": np.array(1)}),
    *(
        Case(
            f'y = Resize <mode = "{mode}", axes = [2, 3]{more}> (x, , , s)',
            {"x": (1, 2, 3, 4), "s": AXES([5, 6])},
            forward=forward,
        )
        for mode, more, forward in [
            ("linear", "", partial(F.interpolate, mode="bilinear")),
            ("cubic", ", cubic_coeff_a = -0.75", partial(F.interpolate, mode="bicubic")),
            (
                "nearest",
                ', coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
                F.interpolate,
            ),
            (
                "linear",
                ', coordinate_transformation_mode = "align_corners"',
                partial(F.interpolate, mode="bilinear", align_corners=True),
            ),
        ]
    ),
]
# The second input of `interpolate` is a size, not a tensor.
SHAPES = [
    Case(
        c.nodes,
        c.inputs,
        c.wrt,
        c.opset,
        (lambda f: lambda x, s: f(x, size=tuple(s.tolist())))(c.forward),
        c.symbolic,
    )
    if "Resize" in c.nodes
    else c
    for c in SHAPES
]
SELECTION = [
    Case("y = Gather <axis = 1> (x, i)", {"x": X, "i": np.array(0)}),
    Case("y = Gather <axis = 1> (x, i)", {"x": X, "i": np.array(-1)}, label="Gather, the last"),
    Case("y = Gather <axis = 2> (x, i)", {"x": X, "i": AXES([2])}),
    Case(
        "y = Gather <axis = -1> (x, i)",
        {"x": X, "i": AXES([[0, 2], [2, 3]])},
        label="Gather, repeated",
    ),
    Case("y = Gather (x, i)", {"x": X, "i": AXES([1, 0, 1])}),
    Case("y = GatherElements <axis = 1> (x, i)", {"x": X, "i": np.zeros((2, 2, 4), np.int64)}),
    Case("y = GatherND (x, i)", {"x": X, "i": AXES([[0, 2], [1, 1], [0, 2]])}),
    Case("y = GatherND <batch_dims = 1> (x, i)", {"x": X, "i": AXES([[2], [1]])}),
    Case("y, i = TopK <axis = 1> (x, k)", {"x": X, "k": AXES([2])}),
    Case(
        "y = ScatterElements <axis = 1> (x, i, z)",
        {"x": X, "i": np.full((2, 1, 4), 2), "z": (2, 1, 4)},
        ("x", "z"),
    ),
    Case(
        'y = ScatterElements <axis = 1, reduction = "add"> (x, i, z)',
        {"x": X, "i": np.full((2, 2, 4), 2), "z": (2, 2, 4)},
        ("x", "z"),
    ),
    Case("y = ScatterND (x, i, z)", {"x": X, "i": AXES([[0, 1], [1, 2]]), "z": (2, 4)}, ("x", "z")),
]
SDPA = F.scaled_dot_product_attention
HEADS = (2, 3, 4, 6)  # batch, heads, tokens, channels


def heads_of(x: Any, heads: int) -> Any:
    """Split [batch, tokens, heads * channels] into heads."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def packed(forward: Any, heads: int) -> Any:
    """Return attention on tensors [batch, tokens, heads * channels]."""

    def run(*parts: Any) -> Any:
        return forward(*(heads_of(part, heads) for part in parts)).transpose(1, 2).flatten(2)

    return run


def masked_sdpa(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return SDPA(q, k, v, attn_mask=mask)


def sampled(**options: Any) -> Any:
    return lambda x, grid: F.grid_sample(x, grid, **options)


GRID = np.random.default_rng(8).uniform(-1.4, 1.4, (2, 3, 4, 2))
MASK = np.random.default_rng(9).random((4, 5)) < 0.7
QKV, ALL = {"x": HEADS, "k": (2, 3, 5, 6), "v": (2, 3, 5, 7)}, ("x", "k", "v")
DECOMPOSITIONS = [
    Case("y = Attention (x, k, v)", QKV, ALL, 23, SDPA),
    Case("y = Attention <scale = 0.3> (x, k, v)", QKV, ALL, 23, partial(SDPA, scale=0.3)),
    Case("y = Attention <is_causal = 1> (x, k, v)", QKV, ALL, 23, partial(SDPA, is_causal=True)),
    Case("y = Attention (x, k, v, m)", QKV | {"m": (4, 5)}, (*ALL, "m"), 23, masked_sdpa),
    Case(
        "y = Attention (x, k, v, m)",
        QKV | {"m": MASK},
        ALL,
        23,
        masked_sdpa,
        label="Attention, boolean mask",
    ),
    Case(
        "y = Attention <q_num_heads = 2, kv_num_heads = 2> (x, k, v)",
        {"x": (2, 4, 6), "k": (2, 5, 6), "v": (2, 5, 8)},
        ALL,
        23,
        packed(SDPA, 2),
    ),
    Case(
        "y = Attention (x, k, v)",
        {"x": (2, 6, 4, 5), "k": (2, 3, 4, 5), "v": (2, 3, 4, 5)},
        ALL,
        23,
        partial(SDPA, enable_gqa=True),
        label="Attention, shared keys",
    ),
    *(
        Case(
            f'y = GridSample <mode = "{mode}", padding_mode = "{padding}", '
            f"align_corners = {aligned}> (x, z)",
            {"x": (2, 2, 5, 6), "z": GRID},
            wrt,
            20,
            sampled(mode=old, padding_mode=padding, align_corners=bool(aligned)),
        )
        for mode, old, padding, aligned, wrt in [
            ("linear", "bilinear", "zeros", 0, ("x", "z")),
            ("linear", "bilinear", "border", 1, ("x", "z")),
            ("linear", "bilinear", "reflection", 0, ("x", "z")),
            ("nearest", "nearest", "zeros", 1, ("x",)),
            ("cubic", "bicubic", "zeros", 0, ("x", "z")),
            ("cubic", "bicubic", "border", 0, ("x", "z")),
        ]
    ),
]


def microsoft(text: str, inputs: dict[str, Any], forward: Any, wrt: Any = ("x",)) -> Case:
    return Case(f"y = com.microsoft.{text}", inputs, tuple(wrt), forward=forward)


def skip_norm(x: Any, z: Any, s: Any, b: Any, c: Any) -> Any:
    return F.layer_norm(x + z + c, (4,), s, b, 1e-5)


def packed_weights(heads: int) -> Any:
    def run(x: Any, w: Any, b: Any) -> Any:
        return packed(SDPA, heads)(*(x @ w + b).chunk(3, 2))

    return run


MICROSOFT = [
    microsoft("Gelu (x)", {"x": X}, F.gelu),
    microsoft("QuickGelu (x)", {"x": X}, lambda x: x * torch.sigmoid(1.702 * x)),
    microsoft("FastGelu (x, z)", {"x": X, "z": (4,)},
              lambda x, z: F.gelu(x + z, approximate="tanh"), ("x", "z")),
    microsoft("BiasGelu (x, z)", {"x": X, "z": (4,)}, lambda x, z: F.gelu(x + z), ("x", "z")),
    microsoft('FusedConv <activation = "Relu", pads = [1, 1, 1, 1]> (x, w, b)',
              {"x": IMAGE, "w": (3, 4, 3, 3), "b": (3,)},
              lambda x, w, b: torch.relu(F.conv2d(x, w, b, padding=1))),
    microsoft('FusedConv <activation = "Clip", activation_params = [-0.5, 1.5]> (x, w, b, z)',
              {"x": IMAGE, "w": (3, 4, 3, 3), "b": (3,), "z": (2, 3, 3, 4)},
              lambda x, w, b, z: (F.conv2d(x, w, b) + z).clamp(-0.5, 1.5), ("x", "z")),
    microsoft('FusedGemm <activation = "LeakyRelu", activation_alpha = 0.1, transB = 1> (x, b, c)',
              {"x": (3, 4), "b": (5, 4), "c": (5,)},
              lambda x, b, c: F.leaky_relu(x @ b.T + c, 0.1), ("x", "b")),
    microsoft("FusedMatMul <transB = 1, alpha = 0.5> (x, z)", {"x": X, "z": (2, 5, 4)},
              lambda x, z: 0.5 * x @ z.transpose(1, 2), ("x", "z")),
    microsoft("SkipLayerNormalization <epsilon = 0.00001> (x, z, s, b, c)",
              {"x": X, "z": X, "s": (4,), "b": (4,), "c": (4,)}, skip_norm, ("x", "z")),
    microsoft("Attention <num_heads = 2> (x, w, b)", {"x": (2, 4, 6), "w": (6, 18), "b": (18,)},
              packed_weights(2)),
    microsoft("MultiHeadAttention <num_heads = 2> (x, k, v)",
              {"x": (2, 4, 6), "k": (2, 5, 6), "v": (2, 5, 6)}, packed(SDPA, 2), ALL),
]  # fmt: skip
CASES = [
    *DECOMPOSITIONS, *MICROSOFT,
    *ELEMENTWISE, *ACTIVATIONS, *LINEAR, *CONVOLUTIONS, *POOLS,
    *NORMALIZATIONS, *REDUCTIONS, *SHAPES, *SELECTION,
]  # fmt: skip


def pytest_id(case: Case) -> str:
    return case.id


@pytest.mark.parametrize("case", CASES, ids=pytest_id)
def test_rule_against_central_differences(case: Case) -> None:
    result = differentiate(case)
    # The oracle must compute the same function; otherwise its differences prove nothing.
    y = evaluator(case)(case.cast_values(np.float64))
    np.testing.assert_allclose(result.y, y, atol=1e-5 * max(1.0, np.abs(y).max()))
    for name in case.wrt:
        expected = differences(case, name, result.seed)
        assert result.gradients[name].shape == expected.shape
        scale = np.abs(expected).max() or 1.0
        error = np.abs(result.gradients[name] - expected).max() / scale
        assert error < TOLERANCE, f"gradient with respect to {name}: {error:.1e}"


# The nodes that a rule builds depend on whether shapes are known; both variants must be right.
WITHOUT_SHAPES = [
    *(c for c in ELEMENTWISE if "Cast" not in c.nodes),
    *ACTIVATIONS,
    *(
        c
        for c in SHAPES
        if c.nodes.startswith(("y = Re", "y = Fl", "y = Sq", "y = Un")) and "Resize" not in c.nodes
    ),
]


@pytest.mark.parametrize("case", WITHOUT_SHAPES, ids=pytest_id)
def test_rule_with_unknown_shapes(case: Case) -> None:
    known, unknown = differentiate(case), differentiate(case, infer_shapes=False)
    for name in case.wrt:
        np.testing.assert_allclose(unknown.gradients[name], known.gradients[name], rtol=1e-6)


def test_every_rule_has_a_case() -> None:
    text = " ".join(case.nodes for case in CASES)
    names = [f"{domain}.{op}" if domain else op for domain, op in supported_operators()]
    missing = [name for name in names if f" {name} " not in text]
    assert set(missing) == {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}


TIES = {
    "MaxPool <kernel_shape = [2, 2]>": partial(F.max_pool2d, kernel_size=2, stride=1),
    "MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>": partial(
        F.max_pool2d, kernel_size=3, stride=2, ceil_mode=True
    ),
    "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>": partial(
        F.max_pool2d, kernel_size=3, stride=2, padding=1
    ),
    "GlobalMaxPool": partial(F.adaptive_max_pool2d, output_size=1),
    "Relu": torch.relu,
    "HardSwish": F.hardswish,
    "HardSigmoid <alpha = 0.16666667>": F.hardsigmoid,
    "Abs": torch.abs,
    "LeakyRelu <alpha = 0.1>": partial(F.leaky_relu, negative_slope=0.1),
    "Elu": F.elu,
}


@pytest.mark.parametrize("operator", TIES)
def test_ties_and_kinks_as_in_torch(operator: str) -> None:
    """Integers from -3 to 3 have many equal neighbors and hit every kink."""
    values = np.random.default_rng(0).integers(-3, 4, (2, 3, 6, 7)).astype(np.float64)
    result = differentiate(unary(operator, values))
    x = torch.from_numpy(values).requires_grad_()
    TIES[operator](x).backward(torch.from_numpy(result.seed).double())
    np.testing.assert_allclose(result.gradients["x"], x.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y = ReduceMax <keepdims = 0> (x, a)", lambda x, a: torch.amax(x, 1)),
        ("y = ReduceMin <keepdims = 0> (x, a)", lambda x, a: torch.amin(x, 1)),
        ("h = Neg (x) y = Max (x, h)", lambda x, a: torch.maximum(x, -x)),
    ],
)
def test_gradient_is_divided_among_ties_as_in_torch(text: str, expected: Any) -> None:
    values = np.random.default_rng(0).integers(-2, 3, (2, 5, 3)).astype(np.float64)
    result = differentiate(Case(text, {"x": values, "a": AXES([1])}))
    x = torch.from_numpy(values).requires_grad_()
    expected(x, None).backward(torch.from_numpy(result.seed).double())
    np.testing.assert_allclose(result.gradients["x"], x.grad.numpy(), atol=1e-6)
