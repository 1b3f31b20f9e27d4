"""Gradient rules of elementwise arithmetic and elementary functions."""

from __future__ import annotations

import math

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def power_base(g: Tensor, n: Call) -> Tensor:
    """Pow: dx = g p x^(p - 1)."""
    x, p = n[0], n[1].cast(n[0].dtype)
    return g * p * x ** (p - 1.0)


def power_exponent(g: Tensor, n: Call) -> Tensor:
    """Pow: dp = g x^p ln x, and 0 at x = 0, the limit for p > 0."""
    return g * n.y * (n[0] > 0.0).where(n[0].op("Log"), 0.0)


def cast(g: Tensor, n: Call) -> Tensor:
    """Cast: dx = g, in the data type of x."""
    return g.cast(n.x.dtype)


def clip(g: Tensor, n: Call) -> Tensor:
    """Clip: dx = g between the bounds, bounds included; 0 elsewhere."""
    in_range = None
    if n.has(1):
        in_range = n.x >= n[1]
    if n.has(2):
        below_max = n.x <= n[2]
        in_range = below_max if in_range is None else in_range & below_max
    return g if in_range is None else in_range.where(g, 0.0)


def split_among_ties(g: Tensor, n: Call, index: int) -> Tensor:
    """Max and Min: g is divided equally among the inputs that attain the extremum."""
    is_extremum = [n[i].equals(n.y).cast(g.dtype) for i in range(len(n))]
    count = n.builder.op("Sum", *is_extremum)
    return g * is_extremum[index] / count


vjp("Add", lambda g, n: g, lambda g, n: g, broadcasts=True)
vjp("Sub", lambda g, n: g, lambda g, n: -g, broadcasts=True)
vjp("Mul", lambda g, n: g * n[1], lambda g, n: g * n[0], broadcasts=True)
vjp("Div", lambda g, n: g / n[1], lambda g, n: -g * n.y / n[1], broadcasts=True)
vjp("Sum", variadic=lambda g, n, i: g, broadcasts=True)
vjp("Mean", variadic=lambda g, n, i: g / float(len(n)), broadcasts=True)
vjp("Max", variadic=split_among_ties, broadcasts=True)
vjp("Min", variadic=split_among_ties, broadcasts=True)
vjp("Pow", power_base, power_exponent, broadcasts=True)
vjp(
    "Where", None, lambda g, n: n[0].where(g, 0.0), lambda g, n: n[0].where(0.0, g), broadcasts=True
)

vjp("Identity", lambda g, n: g)
vjp("Dropout", lambda g, n: g)  # The identity at inference.
vjp("Cast", cast)
vjp("Neg", lambda g, n: -g)
vjp("Abs", lambda g, n: g * n.x.sign())
vjp("Reciprocal", lambda g, n: -g * n.y * n.y)
vjp("Sqrt", lambda g, n: g * 0.5 / n.y)
vjp("Exp", lambda g, n: g * n.y)
vjp("Log", lambda g, n: g / n.x)
vjp("Sin", lambda g, n: g * n.x.op("Cos"))
vjp("Cos", lambda g, n: -g * n.x.op("Sin"))
vjp("Atan", lambda g, n: g / (1.0 + n.x * n.x))
vjp("Tanh", lambda g, n: g * (1.0 - n.y * n.y))
vjp("Erf", lambda g, n: g * (-n.x * n.x).op("Exp") * (2.0 / math.sqrt(math.pi)))
vjp("Clip", clip, None, None)

# Step functions: their derivative is 0 wherever it exists.
for step in ("Floor", "Ceil", "Round"):
    vjp(step, lambda g, n: g * 0.0)

# Binarized networks train with this gradient, that of clipping to [-1, 1] (Courbariaux et al. 2016,
# https://arxiv.org/abs/1602.02830); the derivative itself is 0 everywhere.
vjp("Sign", lambda g, n: (n.x.op("Abs") <= 1.0).where(g, 0.0))
