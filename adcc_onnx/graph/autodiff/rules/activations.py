"""Activation functions, with the derivative at a kink that torch takes."""

from __future__ import annotations

import math

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def leaky_relu(g: Tensor, n: Call) -> Tensor:
    return (n.x > 0.0).where(g, g * n.attribute("alpha", 0.01))


def elu(g: Tensor, n: Call) -> Tensor:
    """1 where x > 0, alpha e^x = y + alpha elsewhere"""
    return (n.x > 0.0).where(g, g * (n.y + n.attribute("alpha", 1.0)))


def celu(g: Tensor, n: Call) -> Tensor:
    """1 where x > 0, e^(x / alpha) elsewhere"""
    return (n.x > 0.0).where(g, g * (n.x / n.attribute("alpha", 1.0)).op("Exp"))


def selu(g: Tensor, n: Call) -> Tensor:
    """gamma where x > 0, y + gamma alpha elsewhere"""
    alpha, gamma = n.attribute("alpha", _SELU_ALPHA), n.attribute("gamma", _SELU_GAMMA)
    return (n.x > 0.0).where(g * gamma, g * (n.y + gamma * alpha))


def hard_sigmoid(g: Tensor, n: Call) -> Tensor:
    """alpha where the line alpha x + beta lies strictly between 0 and 1"""
    return ((n.y > 0.0) & (n.y < 1.0)).where(g * n.attribute("alpha", 0.2), 0.0)


def hard_swish(g: Tensor, n: Call) -> Tensor:
    """0 up to -3, x / 3 + 1 / 2 between, 1 from 3 on"""
    slope = g * (n.x / 3.0 + 0.5)
    return (n.x <= -3.0).where(0.0, (n.x < 3.0).where(slope, g))


def gelu(g: Tensor, n: Call) -> Tensor:
    return gelu_tanh(g, n.x) if n.attribute("approximate", "none") == "tanh" else gelu_erf(g, n.x)


def gelu_erf(g: Tensor, x: Tensor) -> Tensor:
    """Phi(x) + x phi(x), Phi and phi the normal distribution and density"""
    distribution = 0.5 * (1.0 + (x / math.sqrt(2.0)).op("Erf"))
    density = (-0.5 * x * x).op("Exp") / math.sqrt(2.0 * math.pi)
    return g * (distribution + x * density)


def gelu_tanh(g: Tensor, x: Tensor) -> Tensor:
    """y = x (1 + t) / 2, t = tanh(c (x + 0.044715 x^3)), c = sqrt(2 / pi)"""
    c = math.sqrt(2.0 / math.pi)
    t = (c * (x + 0.044715 * x * x * x)).op("Tanh")
    inner = c * (1.0 + 3.0 * 0.044715 * x * x)
    return g * 0.5 * (1.0 + t + x * (1.0 - t * t) * inner)


def swish(g: Tensor, n: Call) -> Tensor:
    """y = x s(alpha x): s + alpha x s (1 - s)"""
    alpha = float(n.attribute("alpha", 1.0))
    s = (n.x * alpha).op("Sigmoid")
    return g * (s + alpha * n.x * s * (1.0 - s))


def mish(g: Tensor, n: Call) -> Tensor:
    """y = x t, t = tanh(softplus(x)): t + x (1 - t^2) s(x)"""
    t = n.x.op("Softplus").op("Tanh")
    return g * (t + n.x * (1.0 - t * t) * n.x.op("Sigmoid"))


vjp("Relu", lambda g, n: (n.y > 0.0).where(g, 0.0))
vjp("LeakyRelu", leaky_relu)
vjp(
    "PRelu",
    lambda g, n: (n.x > 0.0).where(g, g * n[1]),
    lambda g, n: (n.x > 0.0).where(0.0, g * n.x),
    broadcasts=True,
)
vjp("ThresholdedRelu", lambda g, n: (n.x > n.attribute("alpha", 1.0)).where(g, 0.0))
vjp("Elu", elu)
vjp("Celu", celu)
vjp("Selu", selu)
vjp("Sigmoid", lambda g, n: g * n.y * (1.0 - n.y))
vjp("HardSigmoid", hard_sigmoid)
vjp("HardSwish", hard_swish)
vjp("Softplus", lambda g, n: g * n.x.op("Sigmoid"))
vjp("Softsign", lambda g, n: g / ((1.0 + n.x.op("Abs")) ** 2.0))
vjp("Gelu", gelu)
vjp("Swish", swish)
vjp("Mish", mish)
