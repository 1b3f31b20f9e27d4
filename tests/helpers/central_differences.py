"""One operator under test: its gradient graph in onnxruntime against central differences.

The forward that is differenced runs in float64: in onnx's reference evaluator, or in torch where
that evaluator is wrong or rounds to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from adcc_onnx.graph.autodiff.builder import Builder
from adcc_onnx.graph.autodiff.gradient import gradients

onnxruntime.set_default_logger_severity(3)

Array = np.ndarray
Forward = Callable[..., Any]
STEP = 1e-5  # its square is the error of a central difference in float64


@dataclass(frozen=True)
class Case:
    """`nodes` is ONNX text that computes `y` from the inputs.

    Attributes:
        inputs: shape (random normal values) or the values themselves, by name.
        wrt: the inputs that are differentiated; they are graph inputs, the others constants.
        forward: float64 oracle, called with the inputs' values in order; torch tensors if `torch`.
        symbolic: leave the first axis of `x` (and of `y`) open.
        deprecated: onnxruntime still runs the operator, but the checker refuses it.
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
        return self.label or self.nodes.strip().removeprefix("y = ")[:90]

    def values(self) -> dict[str, Array]:
        rng = np.random.default_rng(sum(map(ord, self.nodes)))
        made = {}
        for name, given in self.inputs.items():
            if isinstance(given, tuple):
                # Half-steps of a grid, shuffled: never within STEP of a kink or of each other.
                count = int(np.prod(given))
                grid = (np.arange(count) - count / 2 + 0.3) * (3.0 / max(count, 8))
                made[name] = rng.permutation(grid).reshape(given)
            else:
                made[name] = np.asarray(given)
        return made

    def model(self, dtype: type[np.floating]) -> onnx.ModelProto:
        """The operator as a model in one precision, the constants inside."""
        values = {
            n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in self.values().items()
        }
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
class Found:
    """What the gradient graph gave."""

    y: Array
    seed: Array
    gradients: dict[str, Array] = field(default_factory=dict)


def differentiate(case: Case, forget_shapes: bool = False) -> Found:
    """Run the gradient graph of sum(seed * y) in onnxruntime, float32."""
    feeds = {name: case.values()[name].astype(np.float32) for name in case.wrt}
    proto = case.model(np.float32)
    (y,) = session(proto).run(["y"], feeds)
    seed = np.random.default_rng(5).standard_normal(y.shape).astype(np.float32)
    if not forget_shapes:
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
        named = gradient.op("Identity").value
        named.name, named.shape = f"d {value.name}", value.shape
        graph.outputs.append(named)
    proto = ir.to_proto(model)
    if not forget_shapes and not case.deprecated:  # the checker wants a shape on every graph output
        onnx.checker.check_model(proto, full_check=True)
    results = session(proto).run([f"d {v.name}" for v in wrt], feeds | {"seed": seed})
    return Found(y, seed, {v.name or "": r for v, r in zip(wrt, results, strict=True)})


def differences(case: Case, name: str, seed: Array) -> Array:
    """d sum(seed * y) / d input `name`, by central differences in float64."""
    values = {
        n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in case.values().items()
    }
    run = evaluator(case)
    start = values[name]
    gradient = np.empty(start.size)
    for i in range(start.size):
        ends = []
        for sign in (1.0, -1.0):
            moved = start.reshape(-1).copy()
            moved[i] += sign * STEP
            ends.append((seed * run(values | {name: moved.reshape(start.shape)})).sum())
        gradient[i] = (ends[0] - ends[1]) / (2 * STEP)
    return gradient.reshape(start.shape)


def evaluator(case: Case) -> Callable[[dict[str, Array]], Array]:
    """The float64 forward, from all inputs by name."""
    if case.forward is not None:
        forward = case.forward

        def run(values: dict[str, Array]) -> Array:
            import torch

            tensors = [torch.from_numpy(np.array(v)) for v in values.values()]
            return np.asarray(forward(*tensors))

        return run
    reference = ReferenceEvaluator(case.model(np.float64))

    def run_reference(values: dict[str, Array]) -> Array:
        (y,) = reference.run(["y"], {n: values[n] for n in case.wrt})
        return np.asarray(y)

    return run_reference


def session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
