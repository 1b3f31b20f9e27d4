"""Gradient rule of Einsum: the gradient of one factor is the Einstein sum of g and the others."""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def einsum(g: Tensor, n: Call, index: int) -> Tensor:
    """Einsum: for 'ij,jk->ik', dA is 'ik,jk->ij' of (g, B).

    Along an index that only this input has, the operator sums; g is repeated there.
    """
    terms, output = _terms(n)
    term = terms[index]
    others = [other for i, other in enumerate(terms) if i != index]
    shared = set(output).union(*others)
    summed = [letter for letter in term if letter not in shared]
    result = "".join(letter for letter in term if letter in shared)
    factors = [n[i] for i in range(len(n)) if i != index]
    equation = f"{','.join([output, *others])}->{result}"
    product = n.builder.op("Einsum", g, *factors, equation=equation)
    if not summed:
        return product
    axes = [term.index(letter) for letter in summed]
    return product.op("Unsqueeze", n.builder.ints(axes)).op("Expand", n[index].shape())


def _terms(n: Call) -> tuple[list[str], str]:
    """The indices of each input and of the output, with an ellipsis expanded to letters."""
    equation = str(n.attribute("equation")).replace(" ", "")
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if "..." in equation:
        terms, output = _expand_ellipsis(n, terms, output)
    if not arrow:
        letters = "".join(terms)
        output = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    if any(len(set(term)) < len(term) for term in terms):
        raise UnsupportedNodeError(
            f"its equation '{equation}' repeats an index within one input (a diagonal)"
        )
    return terms, output


def _expand_ellipsis(n: Call, terms: list[str], output: str) -> tuple[list[str], str]:
    """Replace '...' by unused letters; it must stand for the same axes in every input."""
    used = set("".join(terms) + output)
    unused = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in used]
    ellipsis_dims = []
    for i, term in enumerate(terms):
        if "..." in term:
            count = n.rank(i) - len(term.replace("...", ""))
            start = term.index("...")
            ellipsis_dims.append((n.dims(i) or ())[start : start + count])
    if any(dims != ellipsis_dims[0] for dims in ellipsis_dims):
        raise UnsupportedNodeError("its ellipsis stands for different axes in its inputs")
    letters = "".join(unused[: len(ellipsis_dims[0])])
    return [t.replace("...", letters) for t in terms], output.replace("...", letters)


vjp("Einsum", variadic=einsum)
