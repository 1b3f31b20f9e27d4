"""Errors for graphs that cannot be differentiated, and gradients with unknown sizes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.central_differences import Case, differentiate
from helpers.small_models import small
from onnx import numpy_helper

from adcc_onnx.errors import GradientError, NoGradientPathError, NoGradientRuleError
from adcc_onnx.graph.programs.expose import expose

UNSUPPORTED = {
    "unknown": (
        "other = own.Blend (active) pooled2 = GlobalAveragePool (other) flat = Flatten (pooled2) "
        "scores = Gemm <transB = 1> (flat, weights)",
        "operator own.Blend (node 'other') cannot be differentiated: it has no gradient rule",
    ),
    "scatter": (
        'flat = Flatten (pooled) most = ScatterND <reduction = "max"> (flat, place, flat) '
        "scores = Gemm <transB = 1> (most, weights)",
        "reduction 'max' has no rule",
    ),
}


def with_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    values = {"place": np.zeros((1, 1), np.int64)}
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items())
    return model


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_the_error_states_the_reason_on_one_line(name: str) -> None:
    head, reason = UNSUPPORTED[name]
    with pytest.raises(NoGradientRuleError) as caught:
        expose(with_constants(small(head)), ["active"])
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_an_operator_without_a_rule_off_the_path_is_ignored() -> None:
    model = small(
        "strange = own.Blend (image) flat = Flatten (pooled) scores = Gemm <transB = 1> "
        "(flat, weights)"
    )
    assert expose(model, ["active"]).graph.output[2].name == "active.gradient"


@pytest.mark.parametrize(
    "head",
    [
        "place = ArgMax <axis = 1> (pooled) real = Cast <to = 1> (place) flat = Flatten (real) "
        "scores = Gemm (flat, row)",
        "place = ArgMax <axis = 1> (pooled) whole = Cast <to = 1> (place) sizes = Size (active) "
        "real = Cast <to = 1> (sizes) product = Mul (whole, real) flat = Flatten (product) "
        "scores = Gemm (flat, row)",
    ],
)
def test_integers_have_no_gradient(head: str) -> None:
    model = small(head)
    row = numpy_helper.from_array(np.ones((1, 5), np.float32), "row")
    model.graph.initializer.append(row)
    with pytest.raises(NoGradientPathError, match="do not depend on 'active'"):
        expose(model, ["active"])


def test_the_kernel_of_a_convolution_has_no_gradient() -> None:
    case = Case("y = Conv (x, w)", {"x": (1, 2, 4, 4), "w": (2, 2, 3, 3)}, ("w",))
    with pytest.raises(GradientError, match="input number 2"):
        differentiate(case)


def with_symbolic_sizes(case: Case) -> onnx.ModelProto:
    """Return the model of a case with unknown batch, height and width."""
    model = case.model(np.float32)
    for axis in (0, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].Clear()
    return model


@pytest.mark.parametrize(
    "nodes",
    [
        "y = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)",
        "y = Conv <strides = [3, 2]> (x, w)",
        "h = Conv (x, w) y = GlobalAveragePool (h)",
        "h = Conv (x, w) a = ReduceMean <keepdims = 0> (h, space) y = Exp (a)",
        "h = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x) y = Conv (h, w)",
        "h = Conv (x, w) y = GlobalMaxPool (h)",
    ],
)
def test_unknown_sizes_are_determined_at_run_time(nodes: str) -> None:
    import onnx_ir as ir

    from adcc_onnx.graph.autodiff.builder import Builder
    from adcc_onnx.graph.autodiff.gradient import gradients

    inputs = {"x": (2, 3, 9, 8), "w": (4, 3, 3, 2), "space": np.array([2, 3])}
    case = Case(nodes, inputs)
    fixed = differentiate(case)
    model = ir.from_proto(
        onnx.shape_inference.infer_shapes(with_symbolic_sizes(case), data_prop=True)
    )
    graph, builder = model.graph, Builder(model.graph, "gradient/")
    seed = ir.val("seed", dtype=ir.DataType.FLOAT, shape=[None] * fixed.y.ndim)
    graph.inputs.append(seed)
    (dx,) = gradients(builder, graph.outputs[0], builder.wrap(seed), [graph.inputs[0]])
    dx.value.name = "gradient"
    graph.outputs.append(dx.value)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    x = case.values()["x"].astype(np.float32)
    (gradient,) = session.run(["gradient"], {"x": x, "seed": fixed.seed})
    np.testing.assert_allclose(gradient, fixed.gradients["x"], rtol=1e-5, atol=1e-6)
