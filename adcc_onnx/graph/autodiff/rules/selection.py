"""Operators that pick or place elements by index."""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.positions import positions_of, scatter_to
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp
from adcc_onnx.graph.autodiff.rules.shapes import pad_axis


def gather(g: Tensor, n: Call) -> Tensor:
    """One constant index (the class token): zeros around g; else scattered by position"""
    axis, dims = n.axis(0), n.dims(0)
    size = None if dims is None else dims[axis]
    if n[1].value.const_value is not None and isinstance(size, int):
        indices = n.static(1)
        if indices.size == 1 and indices.ndim <= 1:
            place = int(indices.item()) % size
            column = g if indices.ndim else g.op("Unsqueeze", n.builder.ints(axis))
            return pad_axis(column, n.rank(), {axis: place}, {axis: size - 1 - place})
    return scatter_to(n.x, positions_of(n.x).op("Gather", n[1], axis=axis), g)


def gather_elements(g: Tensor, n: Call) -> Tensor:
    picked = positions_of(n.x).op("GatherElements", n[1], axis=n.attribute("axis", 0))
    return scatter_to(n.x, picked, g)


def gather_nd(g: Tensor, n: Call) -> Tensor:
    picked = positions_of(n.x).op("GatherND", n[1], batch_dims=n.attribute("batch_dims", 0))
    return scatter_to(n.x, picked, g)


def top_k(g: Tensor, n: Call) -> Tensor:
    """The values came from where the second output says"""
    zeros = n.builder.zeros(n.x.shape(), g.dtype)
    axis = n.attribute("axis", -1)
    return n.builder.op("ScatterElements", zeros, n.output(1), g, axis=axis)


def scatter_data(g: Tensor, n: Call) -> Tensor:
    """What was written over gets nothing; what was added to keeps its gradient"""
    if _reduction(n) == "add":
        return g
    nothing = n.builder.zeros(n[2].shape(), g.dtype)
    return g.op(n.node.op_type, n[1], nothing, axis=n.attribute("axis"))


def scatter_elements_updates(g: Tensor, n: Call) -> Tensor:
    _reduction(n)
    return g.op("GatherElements", n[1], axis=n.attribute("axis", 0))


def scatter_nd_updates(g: Tensor, n: Call) -> Tensor:
    _reduction(n)
    return g.op("GatherND", n[1])


def _reduction(n: Call) -> str:
    reduction = str(n.attribute("reduction", "none"))
    if reduction not in ("none", "add"):
        raise UnsupportedNodeError(f"its reduction '{reduction}' has no rule")
    return reduction


vjp("Gather", gather, None)
vjp("GatherElements", gather_elements, None)
vjp("GatherND", gather_nd, None)
vjp("TopK", top_k, None)
vjp("ScatterElements", scatter_data, None, scatter_elements_updates)
vjp("ScatterND", scatter_data, None, scatter_nd_updates)
