"""Matrix products."""

from __future__ import annotations

from adcc_onnx.graph.autodiff.broadcast import sum_to, unbroadcast
from adcc_onnx.graph.autodiff.builder import Dim, Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def gemm_a(g: Tensor, n: Call) -> Tensor:
    """Y = alpha op(A) op(B) + beta C: dA = alpha g op(B)^T, transposed where A is"""
    alpha, trans_b = n.attribute("alpha", 1.0), n.attribute("transB", 0)
    if n.attribute("transA", 0):
        return n.builder.op("Gemm", n[1], g, alpha=alpha, transA=trans_b, transB=1)
    return n.builder.op("Gemm", g, n[1], alpha=alpha, transB=1 - trans_b)


def gemm_b(g: Tensor, n: Call) -> Tensor:
    """dB = alpha op(A)^T g, transposed where B is"""
    alpha, trans_a = n.attribute("alpha", 1.0), n.attribute("transA", 0)
    if n.attribute("transB", 0):
        return n.builder.op("Gemm", g, n[0], alpha=alpha, transA=1, transB=trans_a)
    return n.builder.op("Gemm", n[0], g, alpha=alpha, transA=1 - trans_a)


def gemm_c(g: Tensor, n: Call) -> Tensor:
    """dC = beta g, summed to C's shape"""
    beta = n.attribute("beta", 1.0)
    return unbroadcast(g if beta == 1.0 else g * beta, n, 2)


def matmul_a(g: Tensor, n: Call) -> Tensor:
    """Y = A B: dA = g B^T; a vector counts as a row of A, a column of B"""
    g, _, b = _as_matrices(g, n)
    return _fit(g.op("MatMul", _swap_last(b, max(n.rank(1), 2))), n, 0)


def matmul_b(g: Tensor, n: Call) -> Tensor:
    """dB = A^T g"""
    g, a, _ = _as_matrices(g, n)
    return _fit(_swap_last(a, max(n.rank(0), 2)).op("MatMul", g), n, 1)


def _as_matrices(g: Tensor, n: Call) -> tuple[Tensor, Tensor, Tensor]:
    """g, A and B with the axes that MatMul adds to vectors and takes away again."""
    a, b = n[0], n[1]
    ints = n.builder.ints
    if n.rank(1) == 1:
        b, g = b.op("Unsqueeze", ints(-1)), g.op("Unsqueeze", ints(-1))
    if n.rank(0) == 1:
        a, g = a.op("Unsqueeze", ints(0)), g.op("Unsqueeze", ints(-2))
    return g, a, b


def _swap_last(x: Tensor, rank: int) -> Tensor:
    return x.transpose([*range(rank - 2), rank - 1, rank - 2])


def _fit(product: Tensor, n: Call, index: int) -> Tensor:
    """Sum over the batch axes that were broadcast, and drop the axis that a vector was given."""
    dims, other = n.dims(index) or (), n.dims(1 - index) or ()
    if len(dims) == 1:
        full: tuple[Dim, ...] = (*other[:-2], dims[0])
        squeezed = product.op("Squeeze", n.builder.ints(-2 if index == 0 else -1))
        return sum_to(squeezed, full, n[index], dims)
    batch = _broadcast_batch(dims[:-2], other[:-2])
    return sum_to(product, None if batch is None else (*batch, *dims[-2:]), n[index], dims)


def _broadcast_batch(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> tuple[Dim, ...] | None:
    """The broadcast shape of two batch shapes, None where it is not known."""
    rank = max(len(a), len(b))
    wide: list[Dim] = []
    for left, right in zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True):
        if left == 1 or left == right:
            wide.append(right)
        elif right == 1 or isinstance(left, int):
            wide.append(left)
        elif isinstance(right, int):
            wide.append(right)
        else:
            return None
    return tuple(wide)


vjp("Gemm", gemm_a, gemm_b, gemm_c)
vjp("MatMul", matmul_a, matmul_b)
