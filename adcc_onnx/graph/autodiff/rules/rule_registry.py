"""The table from operator to gradient rule, and how the rule files fill it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call

Vjp = Callable[[Tensor, Call], Tensor]
VariadicVjp = Callable[[Tensor, Call, int], Tensor]
Formula = Callable[[Call], Tensor | list[Tensor | None]]
MICROSOFT = "com.microsoft"

_FAMILIES = (
    "elementwise",
    "activations",
    "linear",
    "convolution",
    "pooling",
    "normalization",
    "reductions",
    "shapes",
    "selection",
    "einsum",
    "resize",
    "grid_sample",
    "quantization",
    "attention",
    "microsoft",
)

# Operators through which no gradient flows: their output is of whole numbers, of truth values,
# of shapes, or does not depend on the values of their input.
NO_GRADIENT = frozenset(
    (
        "And",
        "ArgMax",
        "ArgMin",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Constant",
        "ConstantOfShape",
        "Equal",
        "EyeLike",
        "Greater",
        "GreaterOrEqual",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "NonMaxSuppression",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Range",
        "Shape",
        "Size",
        "StringNormalizer",
        "Unique",
        "Xor",
    )
)


# Operators whose first output is of whole numbers and yet carries a gradient: rounding counts as
# the identity (Bengio et al. 2013, https://arxiv.org/abs/1308.3432).
STRAIGHT_THROUGH = frozenset(("QuantizeLinear", "DynamicQuantizeLinear"))


@dataclass(frozen=True)
class Rule:
    """How the gradient passes one operator.

    Attributes:
        arguments: one product an input, None where an input has none (axes, shapes).
        each: the product of any input of a variadic operator, instead of `arguments`.
        broadcasts: the inputs are broadcast against each other.
        outputs: how many leading outputs may carry a gradient; None for all of them.
        formula: the operator written in simpler ones, which the engine differentiates, instead of
            products; a list gives several outputs, None those that carry no gradient.
    """

    arguments: tuple[Vjp | None, ...] = ()
    each: VariadicVjp | None = None
    broadcasts: bool = False
    outputs: int | None = 1
    formula: Formula | None = None

    def product(self, argument: int) -> Vjp | None:
        """The vector-Jacobian product with respect to input number `argument`."""
        if self.each is not None:
            each = self.each
            return lambda g, n: each(g, n, argument)
        return self.arguments[argument] if argument < len(self.arguments) else None


_RULES: dict[tuple[str, str], Rule] = {}


def vjp(
    op_type: str,
    *arguments: Vjp | None,
    each: VariadicVjp | None = None,
    broadcasts: bool = False,
    outputs: int | None = 1,
    domain: str = "",
) -> None:
    """Enter the rule of one operator: one product an input, in the order of the inputs."""
    assert (domain, op_type) not in _RULES, f"{op_type} has two rules"
    _RULES[domain, op_type] = Rule(arguments, each, broadcasts, outputs)


def decomposition(op_type: str, formula: Formula, domain: str = "") -> None:
    """Enter the rule of an operator that is made of simpler ones."""
    assert (domain, op_type) not in _RULES, f"{op_type} has two rules"
    _RULES[domain, op_type] = Rule(formula=formula, outputs=None)


@cache
def _load_families() -> None:
    for family in _FAMILIES:
        importlib.import_module(f"adcc_onnx.graph.autodiff.rules.{family}")


def find_rule(domain: str, op_type: str) -> Rule | None:
    """The rule of an operator, or None where there is none."""
    _load_families()
    return _RULES.get(("" if domain == "ai.onnx" else domain, op_type))


def supported_operators() -> list[tuple[str, str]]:
    """(domain, operator) of every rule, sorted."""
    _load_families()
    return sorted(_RULES)
