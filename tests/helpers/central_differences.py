"""Comparison of an operator's gradient graph, run by onnxruntime, with central differences.

The central differences are computed in float64 by onnx's reference evaluator, or by PyTorch if that
evaluator is wrong or rounds to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from adcc_onnx.graph.autodiff.builder import Builder
from adcc_onnx.graph.autodiff.gradient import gradients

onnxruntime.set_default_logger_severity(3)

Array = NDArray[Any]
Forward = Callable[..., Any]
# The error of a central difference in float64 is of the order of the step squared.
STEP = 1e-5


@dataclass(frozen=True)
class Case:
    """An operator, or a small graph, to differentiate.

    Attributes:
        nodes: ONNX text that computes `y` from the inputs.
        inputs: Shape (for random values) or values of each input, by name.
        wrt: Inputs to differentiate with respect to; the other inputs are constants.
        opset: Opset version of the model.
        forward: Oracle of the forward pass in float64. It is called with the inputs as torch
            tensors, in order. None uses onnx's reference evaluator.
        symbolic: Whether the first axis of `x` (and of `y`) is symbolic.
        label: Test id, if not the nodes.
        deprecated: Whether onnx's checker rejects the operator although onnxruntime runs it.
    """

    nodes: str
    inputs: dict[str, Any]
    wrt: tuple[str, ...] = ("x",)
    opset: int = 18
    forward: Forward | None = None
    symbolic: bool = True
    label: str = ""
    deprecated: bool = False

    @property
    def id(self) -> str:
        """The test id."""
        return self.label or self.nodes.strip().removeprefix("y = ")[:90]

    def values(self) -> dict[str, Array]:
        """Return the values of all inputs, by name."""
        rng = np.random.default_rng(sum(map(ord, self.nodes)))
        values = {}
        for name, spec in self.inputs.items():
            if isinstance(spec, tuple):
                # A shuffled grid: no value is within STEP of a kink or of another value.
                count = int(np.prod(spec))
                grid = (np.arange(count) - count / 2 + 0.3) * (3.0 / max(count, 8))
                values[name] = rng.permutation(grid).reshape(spec)
            else:
                values[name] = np.asarray(spec)
        return values

    def cast_values(self, dtype: type[np.floating[Any]]) -> dict[str, Array]:
        """Return the values of all inputs, floating-point ones in the given precision."""
        return {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in self.values().items()}

    def model(self, dtype: type[np.floating[Any]]) -> onnx.ModelProto:
        """Return a model of the operator in the given precision, with its constants."""
        values = self.cast_values(dtype)
        opsets = f'["" : {self.opset}, "com.microsoft" : 1]'
        text = f"<ir_version: 10, opset_import: {opsets}> g () => () {{ {self.nodes} }}"
        model = onnx.parser.parse_model(text)
        graph = model.graph
        for name, value in values.items():
            if name in self.wrt:
                shape: list[int | str] = list(value.shape)
                if self.symbolic and name == "x" and shape:
                    shape[0] = "N"
                kind = helper.np_dtype_to_tensor_dtype(value.dtype)
                graph.input.append(helper.make_tensor_value_info(name, kind, shape))
            else:
                graph.initializer.append(numpy_helper.from_array(value, name))
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        graph.output.append(helper.make_tensor_value_info("y", kind, None))
        return model


@dataclass
class Differentiated:
    """Results of the gradient graph of sum(seed * y).

    Attributes:
        y: Output of the forward pass.
        seed: Random gradient (cotangent) of y.
        gradients: Gradient with respect to each input of `Case.wrt`, by name.
    """

    y: Array
    seed: Array
    gradients: dict[str, Array]


def differentiate(case: Case, infer_shapes: bool = True) -> Differentiated:
    """Run the gradient graph of sum(seed * y) in onnxruntime, in float32."""
    feeds = {name: case.values()[name].astype(np.float32) for name in case.wrt}
    proto = case.model(np.float32)
    (y,) = session(proto).run(["y"], feeds)
    seed = np.random.default_rng(5).standard_normal(y.shape).astype(np.float32)
    if infer_shapes:
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    model = ir.from_proto(proto)
    graph, builder = model.graph, Builder(model.graph, "gradient/")
    score = graph.outputs[0]
    if score.shape is None:
        score.shape = ir.Shape([None] * y.ndim)
    cotangent = ir.val("seed", dtype=ir.DataType.FLOAT, shape=score.shape)
    graph.inputs.append(cotangent)
    wrt = [value for value in graph.inputs if value.name in case.wrt]
    for value, gradient in zip(
        wrt, gradients(builder, score, builder.wrap(cotangent), wrt), strict=True
    ):
        output = gradient.op("Identity").value
        output.name, output.shape = f"d {value.name}", value.shape
        graph.outputs.append(output)
    proto = ir.to_proto(model)
    # The checker requires a shape for every graph output.
    if infer_shapes and not case.deprecated:
        onnx.checker.check_model(proto, full_check=True)
    results = session(proto).run([f"d {v.name}" for v in wrt], feeds | {"seed": seed})
    return Differentiated(y, seed, {v.name or "": r for v, r in zip(wrt, results, strict=True)})


def differences(case: Case, name: str, seed: Array) -> Array:
    """Compute d sum(seed * y) / d input `name` by central differences in float64."""
    values = case.cast_values(np.float64)
    run = evaluator(case)
    start = values[name]
    gradient = np.empty(start.size)
    for i in range(start.size):
        ends = []
        for sign in (1.0, -1.0):
            shifted = start.reshape(-1).copy()
            shifted[i] += sign * STEP
            ends.append((seed * run(values | {name: shifted.reshape(start.shape)})).sum())
        gradient[i] = (ends[0] - ends[1]) / (2 * STEP)
    return gradient.reshape(start.shape)


def evaluator(case: Case) -> Callable[[dict[str, Array]], Array]:
    """Return the forward pass in float64, a function of the values of all inputs by name."""
    if case.forward is not None:
        forward = case.forward

        def run(values: dict[str, Array]) -> Array:
            import torch

            tensors = [torch.from_numpy(np.array(v)) for v in values.values()]
            return np.asarray(forward(*tensors))

        return run
    reference = ReferenceEvaluator(case.model(np.float64))

    def evaluate(values: dict[str, Array]) -> Array:
        results = reference.run(["y"], {n: values[n] for n in case.wrt})
        assert isinstance(results, list)
        return np.asarray(results[0])

    return evaluate


def session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU."""
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
