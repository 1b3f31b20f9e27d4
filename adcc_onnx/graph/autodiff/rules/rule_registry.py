"""The table from operators to gradient rules, and the functions that add rules to it."""

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

_RULE_MODULES = (
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
    "recurrent",
    "microsoft",
)

# Operators without a gradient: their outputs are integers, booleans or shapes, or do not depend on
# the values of their inputs.
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


# Operators with a gradient although their first output is an integer: the straight-through
# estimator treats rounding as the identity (Bengio et al. 2013, https://arxiv.org/abs/1308.3432).
STRAIGHT_THROUGH = frozenset(("QuantizeLinear", "DynamicQuantizeLinear"))


@dataclass(frozen=True)
class Rule:
    """Gradient rule of one operator.

    Attributes:
        vjps: Vector-Jacobian product of each input, None for inputs without a gradient (axes,
            shapes).
        variadic: Vector-Jacobian product of any input of a variadic operator, instead of `vjps`.
        broadcasts: Whether the operator broadcasts its inputs against each other.
        outputs: Number of leading outputs that may have a gradient; None for all outputs.
        formula: Decomposition of the operator into simpler ones, which is differentiated instead
            of using `vjps`. It returns the outputs, None for those without a gradient.
    """

    vjps: tuple[Vjp | None, ...] = ()
    variadic: VariadicVjp | None = None
    broadcasts: bool = False
    outputs: int | None = 1
    formula: Formula | None = None

    def vjp_of(self, index: int) -> Vjp | None:
        """Return the vector-Jacobian product of input number `index`, None without a gradient."""
        if self.variadic is not None:
            variadic = self.variadic
            return lambda g, n: variadic(g, n, index)
        return self.vjps[index] if index < len(self.vjps) else None


_RULES: dict[tuple[str, str], Rule] = {}


def vjp(
    op_type: str,
    *vjps: Vjp | None,
    variadic: VariadicVjp | None = None,
    broadcasts: bool = False,
    outputs: int | None = 1,
    domain: str = "",
) -> None:
    """Register the gradient rule of an operator.

    Args:
        op_type: Operator.
        *vjps: Vector-Jacobian product of each input, in the order of the inputs, None for inputs
            without a gradient.
        variadic: Vector-Jacobian product of any input of a variadic operator, instead of `vjps`.
        broadcasts: Whether the operator broadcasts its inputs against each other.
        outputs: Number of leading outputs that may have a gradient; None for all outputs.
        domain: Operator domain.
    """
    assert (domain, op_type) not in _RULES, f"{op_type} has two rules"
    _RULES[domain, op_type] = Rule(vjps, variadic, broadcasts, outputs)


def decomposition(op_type: str, formula: Formula, domain: str = "") -> None:
    """Register the decomposition of an operator into simpler ones as its gradient rule.

    Args:
        op_type: Operator.
        formula: Function that builds the operator's outputs from its inputs in simpler operators.
        domain: Operator domain.
    """
    assert (domain, op_type) not in _RULES, f"{op_type} has two rules"
    _RULES[domain, op_type] = Rule(formula=formula, outputs=None)


@cache
def _load_rules() -> None:
    for module in _RULE_MODULES:
        importlib.import_module(f"adcc_onnx.graph.autodiff.rules.{module}")


def find_rule(domain: str, op_type: str) -> Rule | None:
    """Return the gradient rule of an operator.

    Args:
        domain: Operator domain.
        op_type: Operator.

    Returns:
        The rule, or None if there is none.

    Example:
        >>> find_rule("", "Relu") is not None, find_rule("", "NoSuchOperator")
        (True, None)
    """
    _load_rules()
    return _RULES.get(("" if domain == "ai.onnx" else domain, op_type))


def supported_operators() -> list[tuple[str, str]]:
    """Return (domain, operator) of every rule, sorted."""
    _load_rules()
    return sorted(_RULES)
