"""Gradients of gradients: the operators that rules build have rules themselves, with right results.

H v of a score's Hessian H is the gradient of sum(g * v), where g is the gradient.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from graph.autodiff.test_rules import CASES, pytest_id
from helpers.central_differences import Array, Case, evaluator, session

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder
from adcc_onnx.graph.autodiff.gradient import gradients, gradients_or_none

STEP = 3e-4  # the error of a second central difference in float64 is of the order of its square
TOLERANCE = 2e-4
# Straight-through estimates and steps: their second derivatives are no differences.
_ESTIMATES = ("QuantizeLinear", "DynamicQuantizeLinear", "Sign")


def has_ties(case: Case) -> bool:
    """Whether two inputs of a Max or Min are equal somewhere: it has no derivative there."""
    if not case.nodes.startswith(("y = Max (", "y = Min (")):
        return False
    values = case.values()
    arrays = np.broadcast_arrays(*(values[name] for name in case.wrt))
    return any(bool(np.any(a == b)) for a, b in combinations(arrays, 2))


DIFFERENTIABLE = [
    c for c in CASES if not any(name in c.nodes for name in _ESTIMATES) and not has_ties(c)
]
# The operators of common networks.
USUAL = [
    c
    for c in DIFFERENTIABLE
    if c.nodes.startswith(
        tuple(
            f"y = {op} "
            for op in (
                "Relu", "Sigmoid", "HardSwish", "Gelu", "Clip", "Softmax", "LayerNormalization",
                "Abs", "BatchNormalization", "Conv", "ConvTranspose", "MaxPool", "AveragePool",
                "GlobalAveragePool", "Gemm", "Div", "Pow", "Erf", "Concat",
            )
        )
    )
]  # fmt: skip


def hessian_product(case: Case, name: str, seed: Array, direction: Array) -> Array:
    """H v for the score sum(seed * y^2) / 2, by onnxruntime in float32; zeros if there is none."""
    proto = onnx.shape_inference.infer_shapes(case.model(np.float32), data_prop=True)
    model = ir.from_proto(proto)
    builder = Builder(model.graph, "gradient/")
    score = model.graph.outputs[0]
    if score.shape is None:
        score.shape = ir.Shape([None] * seed.ndim)
    (value,) = [v for v in model.graph.inputs if v.name == name]
    y = builder.wrap(score)
    half = y * y * 0.5
    half.value.shape = score.shape
    given = {key: ir.val(key, dtype=FLOAT, shape=like.shape) for key, like in
             (("seed", score), ("direction", value))}  # fmt: skip
    model.graph.inputs.extend(given.values())
    (slope,) = gradients(builder, half.value, builder.wrap(given["seed"]), [value])
    (product,) = gradients_or_none(builder, slope.value, builder.wrap(given["direction"]), [value])
    if product is None:
        return np.zeros_like(direction)
    output = product.op("Identity").value
    output.name, output.shape = "product", value.shape
    model.graph.outputs.append(output)
    feeds = {key: case.values()[key].astype(np.float32) for key in case.wrt}
    feeds |= {"seed": seed.astype(np.float32), "direction": direction.astype(np.float32)}
    (found,) = session(ir.to_proto(model)).run(["product"], feeds)
    return np.asarray(found)


def second_difference(case: Case, name: str, seed: Array, u: Array, v: Array) -> float:
    """u^T H v by second central differences in float64."""
    values, run = case.cast_values(np.float64), evaluator(case)

    def score(a: float, b: float) -> float:
        moved = values[name] + STEP * (a * u + b * v)
        return float((seed * run(values | {name: moved}) ** 2).sum() / 2)

    ends = score(1, 1) - score(1, -1) - score(-1, 1) + score(-1, -1)
    return ends / (4 * STEP**2)


def check(case: Case) -> None:
    values = case.cast_values(np.float64)
    y = evaluator(case)(values)
    rng = np.random.default_rng(1)
    seed = rng.standard_normal(y.shape)
    for name in case.wrt:
        v = rng.uniform(-1, 1, values[name].shape)
        product = hessian_product(case, name, seed, v).astype(np.float64)
        scale = max(1e-3, float(np.linalg.norm(product)))
        for _ in range(2):
            u = rng.uniform(-1, 1, v.shape)
            expected = second_difference(case, name, seed, u, v)
            assert abs(float((u * product).sum()) - expected) < TOLERANCE * scale, name


@pytest.mark.parametrize("case", USUAL, ids=pytest_id)
def test_usual_operators(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=pytest_id)
def test_all_operators(case: Case) -> None:
    check(case)
