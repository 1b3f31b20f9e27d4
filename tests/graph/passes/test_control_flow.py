"""Constant control flow is resolved on loading; control flow on the image is an error."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from adcc_onnx.errors import ControlFlowError
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.expose import expose

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
HEAD = '<ir_version: 8, opset_import: ["" : 18]> net (float[N,3,4,4] image) => (float[N,3] scores)'
SUFFIX = "pooled = GlobalAveragePool (out) scores = Flatten (pooled)"

CONSTANT_IF = """
  size = Shape <start = 2, end = 3> (image)
  four = Constant <value = int64[1] {4}> ()
  same = Equal (size, four)
  out = If (same) <
    then_branch = yes () => (float[N,3,4,4] a) {
      two = Constant <value = float {2.0}> ()
      b = Mul (layer, two)
      a = Exp (b)
    },
    else_branch = no () => (float[N,3,4,4] c) { c = Neg (layer) }
  >"""
OUTER_IF = """
  yes = Constant <value = bool {0}> ()
  out = If (yes) <
    then_branch = a () => (float[N,3,4,4] x) { x = Neg (layer) },
    else_branch = b () => (float[N,3,4,4] y) { y = Identity (layer) }
  >"""
LOOP = """
  rounds = Constant <value = int64 {3}> ()
  go = Constant <value = bool {1}> ()
  last, rows = Loop (rounds, go, layer) <
    body = step (int64 i, bool c, float[N,3,4,4] x) => (bool d, float[N,3,4,4] y, float[N,3,4,4] z)
    {
      d = Identity (c)
      real = Cast <to = 1> (i)
      one = Constant <value = float {1.0}> ()
      factor = Add (real, one)
      h = Tanh (x)
      y = Mul (h, factor)
      z = Exp (h)
    }
  >
  axis = Constant <value = int64[1] {0}> ()
  sum = ReduceSum <keepdims = 0> (rows, axis)
  out = Add (last, sum)"""
SCAN = """
  start = Constant <value = float {0.5}> ()
  turned = Transpose <perm = [1, 0, 2, 3]> (layer)
  last, rows = Scan <
    num_scan_inputs = 1,
    body = step (float s, float[N,4,4] x) => (float t, float[N,4,4] y) {
      two = Constant <value = float {2.0}> ()
      t = Mul (s, two)
      y = Mul (x, t)
    }
  > (start, turned)
  back = Transpose <perm = [1, 0, 2, 3]> (rows)
  out = Mul (back, last)"""
NESTED = """
  yes = Constant <value = bool {1}> ()
  out = If (yes) <
    then_branch = a () => (float[N,3,4,4] x) {
      also = Not (yes)
      x = If (also) <
        then_branch = c () => (float[N,3,4,4] u) { u = Neg (layer) },
        else_branch = d () => (float[N,3,4,4] v) { v = Sin (layer) }
      >
    },
    else_branch = b () => (float[N,3,4,4] y) { y = Identity (layer) }
  >"""


def network(body: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f"{HEAD} {{ layer = Sigmoid (image) {body} {SUFFIX} }}")
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": IMAGES, **feeds})


# Each with its function of `layer` [N, 3, 4, 4] and the derivative of that function.
RESOLVED = {
    "if": (CONSTANT_IF, lambda a: np.exp(2 * a), lambda a: 2 * np.exp(2 * a)),
    "if, an outer value": (OUTER_IF, lambda a: a, np.ones_like),
    "nested": (NESTED, np.sin, np.cos),
    "scan": (
        SCAN,
        lambda a: a * np.array([1, 2, 4])[:, None, None] * 4,
        lambda a: np.ones_like(a) * np.array([4, 8, 16])[:, None, None],
    ),
}


@pytest.mark.parametrize("name", [*RESOLVED, "loop"])
def test_constant_control_flow_is_resolved_to_equal_results(name: str) -> None:
    model = network(LOOP if name == "loop" else RESOLVED[name][0])
    resolved = to_proto(prepare(ir.from_proto(model)))
    kinds = {node.op_type for node in resolved.graph.node}
    assert not kinds & {"If", "Loop", "Scan"}
    assert "out" in {value for node in resolved.graph.node for value in node.output}
    np.testing.assert_allclose(run(resolved)[0], run(model)[0], rtol=1e-6)


@pytest.mark.parametrize("name", RESOLVED)
def test_gradient_is_the_closed_form(name: str) -> None:
    body, function, derivative = RESOLVED[name]
    exposed = expose(network(body), ["layer"])
    onnx.checker.check_model(exposed, full_check=True)
    scores, layer, gradient = run(exposed, target=np.array([0, 2]))
    wide = layer.astype(np.float64)
    np.testing.assert_allclose(scores, function(wide).mean(axis=(2, 3)), rtol=1e-5)
    chosen = np.eye(3)[[0, 2]][:, :, None, None]
    np.testing.assert_allclose(gradient, derivative(wide) * chosen / 16, rtol=1e-5)


def test_gradient_of_an_unrolled_loop_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    exposed = expose(network(LOOP), ["layer"])
    _, layer, gradient = run(exposed, target=np.array([1, 1]))
    x = torch.from_numpy(layer).double().requires_grad_()
    state, total = x, 0.0
    for i in range(3):
        h = torch.tanh(state)
        state, total = h * (i + 1), total + torch.exp(h)
    (state + total).mean(dim=(2, 3))[:, 1].sum().backward()
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-5, atol=1e-7)


DYNAMIC = {
    "If": """
      most = ReduceMax <keepdims = 0> (layer)
      half = Constant <value = float {0.5}> ()
      high = Greater (most, half)
      out = If (high) <
        then_branch = a () => (float[N,3,4,4] x) { x = Neg (layer) },
        else_branch = b () => (float[N,3,4,4] y) { y = Identity (layer) }
      >""",
    "Loop": LOOP.replace(
        "rounds = Constant <value = int64 {3}> ()",
        "most = ReduceMax <keepdims = 0> (layer) rounds = Cast <to = 7> (most)",
    ),
}


@pytest.mark.parametrize("kind", DYNAMIC)
def test_control_flow_on_the_image_is_an_error(kind: str) -> None:
    with pytest.raises(ControlFlowError) as caught:
        expose(network(DYNAMIC[kind]), ["layer"])
    assert f"operator {kind} (node '" in str(caught.value)
    assert "not constant" in str(caught.value)


def test_long_loops_are_not_unrolled() -> None:
    long = network(LOOP.replace("int64 {3}", "int64 {1000000}"))
    with pytest.raises(ControlFlowError, match="too large to unroll"):
        expose(long, ["layer"])
