"""Einstein sums: the gradient of one factor is the Einstein sum of all the others with g."""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def einsum(g: Tensor, n: Call, index: int) -> Tensor:
    """'ij,jk->ik': dA = 'ik,jk->ij' of (g, B). An axis that A alone has was summed: repeat g."""
    terms, output = _terms(n)
    wanted = terms[index]
    others = [term for i, term in enumerate(terms) if i != index]
    known = set(output).union(*others)
    lonely = [letter for letter in wanted if letter not in known]
    found = "".join(letter for letter in wanted if letter in known)
    factors = [n[i] for i in range(len(n)) if i != index]
    equation = f"{','.join([output, *others])}->{found}"
    product = n.builder.op("Einsum", g, *factors, equation=equation)
    if not lonely:
        return product
    axes = [wanted.index(letter) for letter in lonely]
    return product.op("Unsqueeze", n.builder.ints(axes)).op("Expand", n[index].shape())


def _terms(n: Call) -> tuple[list[str], str]:
    """The letters of each input and of the output, an ellipsis written out in letters."""
    equation = str(n.attribute("equation")).replace(" ", "")
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if "..." in equation:
        terms, output = _spell_out(n, terms, output)
    if not arrow:
        letters = "".join(terms)
        output = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    if any(len(set(term)) < len(term) for term in terms):
        raise UnsupportedNodeError(f"its equation '{equation}' takes a diagonal")
    return terms, output


def _spell_out(n: Call, terms: list[str], output: str) -> tuple[list[str], str]:
    """Replace '...' by unused letters; its axes must be the same in every input."""
    used = set("".join(terms) + output)
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in used]
    hidden = []
    for i, term in enumerate(terms):
        if "..." in term:
            count = n.rank(i) - len(term.replace("...", ""))
            start = term.index("...")
            hidden.append((n.dims(i) or ())[start : start + count])
    if any(dims != hidden[0] for dims in hidden):
        raise UnsupportedNodeError("its ellipsis stands for axes that are broadcast")
    letters = "".join(spare[: len(hidden[0])])
    return [t.replace("...", letters) for t in terms], output.replace("...", letters)


vjp("Einsum", each=einsum)
