"""Gradient rules of operators that read or write elements by index."""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.positions import element_positions, scatter_add
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp
from adcc_onnx.graph.autodiff.rules.shapes import pad_axis


def gather(g: Tensor, n: Call) -> Tensor:
    """Gather: zeros around g for one constant index (a class token), else a scatter-add of g."""
    axis, dims = n.axis(0), n.dims(0)
    size = None if dims is None else dims[axis]
    if n[1].value.const_value is not None and isinstance(size, int):
        indices = n.constant_value(1)
        if indices.size == 1 and indices.ndim <= 1:
            index = int(indices.item()) % size
            slice_gradient = g if indices.ndim else g.op("Unsqueeze", n.builder.ints(axis))
            return pad_axis(slice_gradient, n.rank(), {axis: index}, {axis: size - 1 - index})
    return scatter_add(n.x, element_positions(n.x).op("Gather", n[1], axis=axis), g)


def gather_elements(g: Tensor, n: Call) -> Tensor:
    """GatherElements: a scatter-add of g."""
    positions = element_positions(n.x).op("GatherElements", n[1], axis=n.attribute("axis", 0))
    return scatter_add(n.x, positions, g)


def gather_nd(g: Tensor, n: Call) -> Tensor:
    """GatherND: a scatter-add of g."""
    positions = element_positions(n.x).op("GatherND", n[1], batch_dims=n.attribute("batch_dims", 0))
    return scatter_add(n.x, positions, g)


def top_k(g: Tensor, n: Call) -> Tensor:
    """TopK: g is written to the positions that the second output contains."""
    zeros = n.builder.zeros(n.x.shape(), g.dtype)
    axis = n.attribute("axis", -1)
    return n.builder.op("ScatterElements", zeros, n.output(1), g, axis=axis)


def scatter_data(g: Tensor, n: Call) -> Tensor:
    """Scatter operators: ddata = g, with 0 at overwritten elements; added elements keep g."""
    if _reduction(n) == "add":
        return g
    zeros = n.builder.zeros(n[2].shape(), g.dtype)
    return g.op(n.node.op_type, n[1], zeros, axis=n.attribute("axis"))


def scatter_elements_updates(g: Tensor, n: Call) -> Tensor:
    """ScatterElements: dupdates = g at the updated positions."""
    _reduction(n)
    return g.op("GatherElements", n[1], axis=n.attribute("axis", 0))


def scatter_nd_updates(g: Tensor, n: Call) -> Tensor:
    """ScatterND: dupdates = g at the updated positions."""
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
