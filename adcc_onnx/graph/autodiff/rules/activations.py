"""Gradient rules of activation functions, with the derivative of PyTorch at kinks."""

from __future__ import annotations

import math

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def leaky_relu(g: Tensor, n: Call) -> Tensor:
    """LeakyRelu: dx = g for x > 0, alpha g elsewhere."""
    return (n.x > 0.0).where(g, g * n.attribute("alpha", 0.01))


def elu(g: Tensor, n: Call) -> Tensor:
    """Elu: dx = g for x > 0, g alpha e^x = g (y + alpha) elsewhere."""
    return (n.x > 0.0).where(g, g * (n.y + n.attribute("alpha", 1.0)))


def celu(g: Tensor, n: Call) -> Tensor:
    """Celu: dx = g for x > 0, g e^(x / alpha) elsewhere."""
    return (n.x > 0.0).where(g, g * (n.x / n.attribute("alpha", 1.0)).op("Exp"))


def selu(g: Tensor, n: Call) -> Tensor:
    """Selu: dx = gamma g for x > 0, g (y + gamma alpha) elsewhere."""
    alpha, gamma = n.attribute("alpha", _SELU_ALPHA), n.attribute("gamma", _SELU_GAMMA)
    return (n.x > 0.0).where(g * gamma, g * (n.y + gamma * alpha))


def hard_sigmoid(g: Tensor, n: Call) -> Tensor:
    """HardSigmoid: dx = alpha g where 0 < alpha x + beta < 1, 0 elsewhere."""
    return ((n.y > 0.0) & (n.y < 1.0)).where(g * n.attribute("alpha", 0.2), 0.0)


def hard_swish(g: Tensor, n: Call) -> Tensor:
    """HardSwish: dx = 0 for x <= -3, g for x >= 3, g (x / 3 + 1 / 2) between."""
    slope = g * (n.x / 3.0 + 0.5)
    return (n.x <= -3.0).where(0.0, (n.x < 3.0).where(slope, g))


def gelu(g: Tensor, n: Call) -> Tensor:
    """Gelu: exact, or approximated by tanh."""
    exact = n.attribute("approximate", "none") != "tanh"
    return _gelu_exact(g, n.x) if exact else _gelu_tanh(g, n.x)


def _gelu_exact(g: Tensor, x: Tensor) -> Tensor:
    """Gelu: dx = g (Phi(x) + x phi(x)), Phi and phi the normal distribution and density."""
    distribution = 0.5 * (1.0 + (x / math.sqrt(2.0)).op("Erf"))
    density = (-0.5 * x * x).op("Exp") / math.sqrt(2.0 * math.pi)
    return g * (distribution + x * density)


def _gelu_tanh(g: Tensor, x: Tensor) -> Tensor:
    """Gelu: y = x (1 + t) / 2, t = tanh(c (x + 0.044715 x^3)), c = sqrt(2 / pi)."""
    c = math.sqrt(2.0 / math.pi)
    t = (c * (x + 0.044715 * x * x * x)).op("Tanh")
    slope = c * (1.0 + 3.0 * 0.044715 * x * x)
    return g * 0.5 * (1.0 + t + x * (1.0 - t * t) * slope)


def swish(g: Tensor, n: Call) -> Tensor:
    """Swish: y = x s(alpha x), so dx = g (s + alpha x s (1 - s))."""
    alpha = float(n.attribute("alpha", 1.0))
    s = (n.x * alpha).op("Sigmoid")
    return g * (s + alpha * n.x * s * (1.0 - s))


def mish(g: Tensor, n: Call) -> Tensor:
    """Mish: y = x t, t = tanh(softplus(x)), so dx = g (t + x (1 - t^2) sigmoid(x))."""
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
