"""The gradient of LRN, even windows included, against PyTorch autograd in float64.

onnxruntime refuses LRN with an even window, and onnx's reference evaluator computes LRN wrongly.
Only the gradient is therefore run: the LRN node is removed, and its output becomes an input.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from adcc_onnx.graph.autodiff.builder import Builder
from adcc_onnx.graph.autodiff.gradient import gradients

torch = pytest.importorskip("torch")

SHAPE = (2, 6, 2, 3)
TYPES = {np.float64: "double", np.float32: "float"}


def gradient_model(size: int, dtype: type[np.floating]) -> onnx.ModelProto:
    """Build the model (x, y, seed) -> dx, with y = LRN(x)."""
    shape = f"{TYPES[dtype]}[{','.join(map(str, SHAPE))}]"
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 18]> lrn ({shape} x, {shape} seed) => ({shape} y) '
        f"{{ y = LRN <size = {size}, alpha = 0.5, beta = 0.75, bias = 1.5> (x) }}"
    )
    graph = ir.from_proto(model).graph
    builder = Builder(graph, "gradient/")
    x, seed = graph.inputs
    (dx,) = gradients(builder, graph.outputs[0], builder.wrap(seed), [x])
    lrn = graph.node(0)
    y = ir.val("y", type=lrn.outputs[0].type, shape=lrn.outputs[0].shape)
    lrn.outputs[0].replace_all_uses_with(y, replace_graph_outputs=True)
    graph.remove(lrn, safe=True)
    graph.inputs.append(y)
    graph.outputs[:] = [dx.value]
    return ir.to_proto(ir.Model(graph, ir_version=10))


def torch_lrn(x: torch.Tensor, size: int) -> torch.Tensor:
    """Compute LRN as ONNX defines it.

    In ONNX the window of channel c ends at c + ceil((size - 1) / 2); in PyTorch it starts at
    c - ceil((size - 1) / 2). The two agree on reversed channels.
    """
    normalized = torch.nn.functional.local_response_norm(x.flip(1), size, 0.5, 0.75, 1.5)
    return normalized.flip(1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 8])
def test_gradient_of_lrn_against_torch_autograd(size: int) -> None:
    rng = np.random.default_rng(size)
    values, seed = rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)
    x = torch.from_numpy(values).requires_grad_()
    y = torch_lrn(x, size)
    (expected,) = torch.autograd.grad(y, x, torch.from_numpy(seed))
    feeds = {"x": values, "y": y.detach().numpy(), "seed": seed}

    evaluator = ReferenceEvaluator(gradient_model(size, np.float64))
    (gradient,) = evaluator.run(None, feeds)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-13)

    session = onnxruntime.InferenceSession(
        gradient_model(size, np.float32).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (gradient,) = session.run(None, {k: v.astype(np.float32) for k, v in feeds.items()})
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_window_of_the_oracle_is_that_of_the_specification(size: int) -> None:
    x = np.random.default_rng(0).standard_normal(SHAPE)
    before, after = (size - 1) // 2, size // 2
    squares = np.stack(
        [(x[:, max(c - before, 0) : c + after + 1] ** 2).sum(axis=1) for c in range(SHAPE[1])],
        axis=1,
    )
    expected = x / (1.5 + 0.5 / size * squares) ** 0.75
    np.testing.assert_allclose(torch_lrn(torch.from_numpy(x), size), expected, rtol=1e-12)
