"""Rewrite the experimental operators of early ONNX, which later opsets do not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call

_SLICE_OPSET = 10  # the first opset in which a Slice takes its limits as inputs
_AXES_OPSET = 9  # the first opset in which a MeanVarianceNormalization names its axes
_AXES_INPUT_OPSET = 18  # the first opset in which a ReduceMean takes its axes as an input
_END = 2**31 - 1


def rewrite_old_operators(model: ir.Model) -> None:
    """Rewrite ImageScaler, Crop, Affine and the like as standard operators, in place.

    Args:
        model: A model of any opset, whose initializers are no inputs.

    Raises:
        ModelError: An old operator cannot be rewritten; the message names it.
    """
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 1))
    found = [node for node in model.graph if _is_old(node, opset)]
    if not found:
        return
    builder = Builder(model.graph, "old/")
    for node in found:
        old = node.outputs[0]
        with builder.scope(node.name):
            call = Call(builder, node)
            if node.op_type in _REWRITES_BY_OPSET:
                result = _REWRITES_BY_OPSET[node.op_type](call, opset)
            else:
                result = _REWRITES[node.op_type](call)
        new = result.value
        new.shape = old.shape or new.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        last = new.producer()
        new.name, old.name, name = old.name, None, node.name
        model.graph.remove(node, safe=True)
        if last is not None:
            last.name = name
    model.graph.sort()


def _is_old(node: ir.Node, opset: int) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "ThresholdedRelu":
        return opset < _SLICE_OPSET  # a standard operator from there on
    if node.op_type in _REFUSED:
        raise ModelError(
            f"operator {node.op_type} (node '{node.name or node.outputs[0].name}') is an "
            "experimental operator of early ONNX that this package does not know: export the "
            "model again with a newer exporter"
        )
    return node.op_type in _REWRITES or node.op_type in _REWRITES_BY_OPSET


def _number(n: Call, name: str, default: float) -> float:
    return float(n.attribute(name, default))


def _image_scaler(n: Call) -> Tensor:
    """Scale all values, and add a bias to each channel."""
    bias = np.asarray(n.attribute("bias", [0.0]), np.float32).reshape(-1, 1, 1)
    return n[0] * _number(n, "scale", 1.0) + n.builder.constant(bias, n[0].dtype)


def _affine(n: Call) -> Tensor:
    return n[0] * _number(n, "alpha", 1.0) + _number(n, "beta", 0.0)


def _parametric_softplus(n: Call) -> Tensor:
    return (n[0] * _number(n, "beta", 1.0)).op("Softplus") * _number(n, "alpha", 1.0)


def _scaled_tanh(n: Call) -> Tensor:
    return (n[0] * _number(n, "beta", 1.0)).op("Tanh") * _number(n, "alpha", 1.0)


def _thresholded_relu(n: Call) -> Tensor:
    return n[0] * (n[0] > _number(n, "alpha", 1.0)).cast(n[0].dtype)


def _mean_variance_normalization(n: Call, opset: int) -> Tensor:
    """Subtract the mean over some axes, and divide by the standard deviation."""
    space = [1, 2, 3] if n.attribute("across_channels", 0) else [2, 3]
    axes = space if opset < _AXES_OPSET else list(n.attribute("axes", [0, 2, 3]))

    def mean(x: Tensor) -> Tensor:
        if opset < _AXES_INPUT_OPSET:
            return x.op("ReduceMean", axes=axes, keepdims=1)
        return x.mean(axes)

    centered = n[0] - mean(n[0])
    if not n.attribute("normalize_variance", 1):
        return centered
    return centered / (mean(centered * centered).op("Sqrt") + 1e-9)


def _crop(n: Call, opset: int) -> Tensor:
    """Cut off borders (left, top, right, bottom), or cut out a size (height, width)."""
    left, top, right, bottom = (int(size) for size in n.attribute("border", [0, 0, 0, 0]))
    size = [int(side) for side in n.attribute("scale", [])]
    starts = [top, left]
    if len(size) == 2:
        ends = [top + size[0], left + size[1]]
    else:
        ends = [-bottom if bottom else _END, -right if right else _END]
    if opset < _SLICE_OPSET:
        return n[0].op("Slice", axes=[2, 3], starts=starts, ends=ends)
    limits = [n.builder.ints(numbers) for numbers in (starts, ends, [2, 3])]
    return n[0].op("Slice", *limits)


_REWRITES: dict[str, Callable[[Call], Tensor]] = {
    "Affine": _affine,
    "ImageScaler": _image_scaler,
    "ParametricSoftplus": _parametric_softplus,
    "ScaledTanh": _scaled_tanh,
    "ThresholdedRelu": _thresholded_relu,
}
_REWRITES_BY_OPSET: dict[str, Callable[[Call, int], Tensor]] = {
    "Crop": _crop,
    "MeanVarianceNormalization": _mean_variance_normalization,
}
_REFUSED = {"ATen", "DynamicSlice", "GRUUnit", "GivenTensorFill", "Fill", "ConstantFill"}
