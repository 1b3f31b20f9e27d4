"""A graph in the form for CUDA computes the same, and holds no operator without a CUDA kernel."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.fake_card.model import cnn

from adcc_onnx.drawings import classifier_path
from adcc_onnx.graph.classifier.image_classifier import read_classifier
from adcc_onnx.graph.classifier.layers import make_layer
from adcc_onnx.graph.classifier.opening import fix_size
from adcc_onnx.graph.passes.batch_arithmetic import batch_values
from adcc_onnx.graph.passes.cuda_form import to_cuda_form
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.instrument import build_instrumented
from adcc_onnx.graph.programs.perturb import build_masked

RNG = np.random.default_rng(0)
HEAD = '<ir_version: 8, opset_import: ["" : 18]> g (float[batch,4,6,6] x) => (float[N,M,H,W] y) '
# The body of a graph, and the operators that must have disappeared.
GRAPHS = {
    "conv": ("{ y = Conv <pads = [0, 1, 2, 1], strides = [2, 2]> (x, w) }", ()),
    "same": ('{ y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w) }', ()),
    "lower": ('{ y = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w, b) }', ()),
    "transposed": ("{ y = ConvTranspose <pads = [0, 1, 1, 0], strides = [2, 2]> (x, w) }", ()),
    "padded": (
        "{ y = ConvTranspose <pads = [1, 0, 2, 1], strides = [2, 2], output_padding = [1, 0]>"
        " (x, w, b) }",
        (),
    ),
    **{
        f"average, {name}": (f"{{ y = AveragePool <kernel_shape = [3, 3], {text}> (x) }}", ())
        for name, text in {
            "same": 'auto_pad = "SAME_UPPER", strides = [2, 2]',
            "lower": 'auto_pad = "SAME_LOWER", strides = [2, 2]',
            "pads": "pads = [0, 1, 2, 1], strides = [2, 1]",
            "counted": "pads = [0, 1, 2, 1], count_include_pad = 1",
            "ceil": "pads = [0, 1, 1, 1], strides = [3, 2], ceil_mode = 1",
            "ceil, counted": (
                "pads = [1, 0, 1, 1], strides = [2, 3], ceil_mode = 1, count_include_pad = 1"
            ),
            "negative": "pads = [1, 0, 0, 0], strides = [3, 4]",
        }.items()
    },
    "mean": ("{ a = Relu (x) y = Mean (x, a, x) }", ("Mean",)),
    "scale": (
        """{ s = Shape (x) d = Slice (s, one, two) f = Cast <to = 1> (d) r = Sqrt (f)
        y = Div (x, r) }""",
        ("Shape", "Slice", "Cast", "Sqrt"),
    ),
    "reshape": (
        """{ s = Shape (x) n = Gather (s, zero) v = Unsqueeze (n, zeros)
        t = Concat <axis = 0> (v, rest) y = Reshape (x, t) }""",
        ("Shape", "Gather", "Concat"),
    ),
    "expand": (
        """{ s = Shape (x) n = Gather (s, zero) v = Unsqueeze (n, zeros)
        t = Concat <axis = 0> (v, rest) e = Expand (token, t) y = Add (x, e) }""",
        ("Shape", "Gather", "Concat"),
    ),
    **{
        f"tile, {count}": (
            f"""{{ s = Shape (x) n = Gather (s, zero) v = Unsqueeze (n, zeros)
            t = Concat <axis = 0> (v, one, {count}, one) e = Tile (token, t) y = Add (x, e) }}""",
            ("Shape", "Gather", "Concat"),
        )
        for count in ("one", "six")
    },
    "constant": (
        """{ s = Shape (x) n = Gather (s, zero) v = Unsqueeze (n, zeros)
        t = Concat <axis = 0> (v, rest) e = ConstantOfShape (t) y = Sub (x, e) }""",
        ("Shape", "Gather", "Concat", "ConstantOfShape"),
    ),
    "resize": (
        """{ n = Shape <end = 1> (x) t = Concat <axis = 0> (n, larger)
        y = Resize <mode = "linear"> (x, , , t) }""",
        ("Shape", "Concat"),
    ),
    "same size": (
        """{ n = Shape <end = 1> (x) t = Concat <axis = 0> (n, rest)
        y = Resize <mode = "linear"> (x, , , t) }""",
        ("Shape", "Concat", "Resize"),
    ),
    # onnxruntime moves a Transpose behind Shape, and permutes the sizes on the host.
    "shape": (
        """{ a = Transpose <perm = [0, 2, 3, 1]> (x) s = Shape (a) e = ConstantOfShape (s)
        f = Expand (half, s) g = Add (e, f) y = Add (a, g) }""",
        ("Shape", "ConstantOfShape"),
    ),
    # Windows of a transformer: the batch is no longer known behind the Reshapes.
    "expand to a value": (
        """{ f = Reshape (x, rows) a = Reshape (f, samples) m = GlobalAveragePool (a)
        s = Shape (a) e = Expand (m, s) y = Sub (a, e) }""",
        ("Shape", "Expand"),
    ),
}
CONSTANTS = {
    "w": RNG.standard_normal((4, 4, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
    "token": RNG.standard_normal((1, 4, 1, 6)).astype(np.float32),
    "half": np.float32(0.5).reshape(1, 1, 1, 1),
    "zero": np.int64(0),
    "zeros": np.array([0]),
    "one": np.array([1]),
    "two": np.array([2]),
    "six": np.array([6]),
    "rest": np.array([4, 6, 6]),
    "rows": np.array([-1, 6]),
    "samples": np.array([-1, 4, 6, 6]),
    "larger": np.array([4, 9, 12]),
}


def graph(body: str) -> ir.Model:
    # The shape of an output hides the shape that is inferred.
    named = re.sub(r"\by =", "result =", body).removesuffix("}") + "y = Identity (result) }"
    proto = onnx.parser.parse_model(HEAD + named)
    for name, value in CONSTANTS.items():
        if any(name in node.input for node in proto.graph.node):
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    return ir.from_proto(proto)


def computed(model: ir.Model, **feeds: np.ndarray) -> list[np.ndarray]:
    proto = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_rewritten_graph_computes_the_same(name: str) -> None:
    body, gone = GRAPHS[name]
    rewritten = graph(body)
    to_cuda_form(rewritten)
    assert not {node.op_type for node in rewritten.graph} & set(gone)
    for node in rewritten.graph:
        if node.op_type in ("AveragePool", "Conv", "ConvTranspose"):
            assert "auto_pad" not in node.attributes
            pads = node.attributes["pads"].as_ints() if "pads" in node.attributes else ()
            assert pads[: len(pads) // 2] == pads[len(pads) // 2 :]
    for batch in (1, 3):
        x = RNG.standard_normal((batch, 4, 6, 6)).astype(np.float32)
        (expected,), (found,) = computed(graph(body), x=x), computed(rewritten, x=x)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", ["drawings", "cnn"])
def test_programs_compute_the_same(model: str) -> None:
    proto = cnn() if model == "cnn" else onnx.load(classifier_path())
    classifier = read_classifier(prepare(ir.from_proto(proto)))
    fix_size(classifier, classifier.size or (112, 112))
    image = make_layer(classifier, classifier.image, "input")
    x = RNG.standard_normal((2, 3, *classifier.fixed_size)).astype(np.float32)
    feeds = {"image": x, "target": np.array([1, 2])}
    masks = {"image": x[:1], "masks": RNG.random((3, 4, 5)).astype(np.float32)}
    for build, given in (
        (lambda: build_instrumented(classifier, [image], True), feeds),
        (lambda: build_masked(classifier), masks),
    ):
        rewritten = build()
        to_cuda_form(rewritten)
        for found, expected in zip(
            computed(rewritten, **given), computed(build(), **given), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_values_of_the_batch_are_linear() -> None:
    body = GRAPHS["reshape"][0].replace("y = Reshape", "u = Mul (t, t) y = Reshape")
    values = batch_values(graph(body))
    known = values["t"]
    assert known.constant.tolist() == [0, 4, 6, 6] and known.per_sample.tolist() == [1, 0, 0, 0]
    assert "u" not in values  # the square of the batch is not linear
