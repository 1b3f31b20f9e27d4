"""Gradient rules of matrix products."""

from __future__ import annotations

from adcc_onnx.graph.autodiff.broadcast import sum_to, unbroadcast
from adcc_onnx.graph.autodiff.builder import Dim, Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def gemm_a(g: Tensor, n: Call) -> Tensor:
    """Gemm, Y = alpha A' B' + beta C (' an optional transpose): dA' = alpha g B'^T."""
    alpha, trans_b = n.attribute("alpha", 1.0), n.attribute("transB", 0)
    if n.attribute("transA", 0):
        return n.builder.op("Gemm", n[1], g, alpha=alpha, transA=trans_b, transB=1)
    return n.builder.op("Gemm", g, n[1], alpha=alpha, transB=1 - trans_b)


def gemm_b(g: Tensor, n: Call) -> Tensor:
    """Gemm: dB' = alpha A'^T g."""
    alpha, trans_a = n.attribute("alpha", 1.0), n.attribute("transA", 0)
    if n.attribute("transB", 0):
        return n.builder.op("Gemm", g, n[0], alpha=alpha, transA=1, transB=trans_a)
    return n.builder.op("Gemm", n[0], g, alpha=alpha, transA=1 - trans_a)


def gemm_c(g: Tensor, n: Call) -> Tensor:
    """Gemm: dC = beta g, summed to the shape of C."""
    beta = n.attribute("beta", 1.0)
    return unbroadcast(g if beta == 1.0 else g * beta, n, 2)


def matmul_a(g: Tensor, n: Call) -> Tensor:
    """MatMul, Y = A B: dA = g B^T; a vector A is a row, a vector B is a column."""
    g, _, b = _as_matrices(g, n)
    return _to_input_shape(g.op("MatMul", _transpose_last(b, max(n.rank(1), 2))), n, 0)


def matmul_b(g: Tensor, n: Call) -> Tensor:
    """MatMul: dB = A^T g."""
    g, a, _ = _as_matrices(g, n)
    return _to_input_shape(_transpose_last(a, max(n.rank(0), 2)).op("MatMul", g), n, 1)


def _as_matrices(g: Tensor, n: Call) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient g, A and B with the axes that MatMul temporarily adds to vectors."""
    a, b = n[0], n[1]
    ints = n.builder.ints
    if n.rank(1) == 1:
        b, g = b.op("Unsqueeze", ints(-1)), g.op("Unsqueeze", ints(-1))
    if n.rank(0) == 1:
        a, g = a.op("Unsqueeze", ints(0)), g.op("Unsqueeze", ints(-2))
    return g, a, b


def _transpose_last(x: Tensor, rank: int) -> Tensor:
    return x.transpose([*range(rank - 2), rank - 1, rank - 2])


def _to_input_shape(product: Tensor, n: Call, index: int) -> Tensor:
    """Sum over the broadcast batch axes, and remove the axis that was added to a vector."""
    dims, other = n.dims(index) or (), n.dims(1 - index) or ()
    if len(dims) == 1:
        squeezed_dims: tuple[Dim, ...] = (*other[:-2], dims[0])
        squeezed = product.op("Squeeze", n.builder.ints(-2 if index == 0 else -1))
        return sum_to(squeezed, squeezed_dims, n[index], dims)
    batch = _broadcast_batch(dims[:-2], other[:-2])
    return sum_to(product, None if batch is None else (*batch, *dims[-2:]), n[index], dims)


def _broadcast_batch(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> tuple[Dim, ...] | None:
    """The broadcast shape of two batch shapes; None if it is unknown."""
    rank = max(len(a), len(b))
    result: list[Dim] = []
    for left, right in zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True):
        if left == 1 or left == right:
            result.append(right)
        elif right == 1 or isinstance(left, int):
            result.append(left)
        elif isinstance(right, int):
            result.append(right)
        else:
            return None
    return tuple(result)


vjp("Gemm", gemm_a, gemm_b, gemm_c)
vjp("MatMul", matmul_a, matmul_b)
