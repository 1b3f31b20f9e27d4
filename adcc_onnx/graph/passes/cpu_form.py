"""Rewrite a graph so that onnxruntime's CPU kernels compute the same, to rounding, in less time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Tensor, dims_of
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.passes.rewriting import own_input, rewrite

_PREFIX = "adcc/cpu/"
# Up to here, a convolution over all channels is faster than powers.
_MOST_CHANNELS = 512
_EXPONENTS = (0.5, 0.75, 1.0)


def to_cpu_form(model: ir.Model) -> None:
    """Rewrite a graph for the CPU, in place; its inputs and outputs stay the same.

    Args:
        model: A prepared model, or a graph that was built from one.
    """
    rewrite(model, _PREFIX, {"LRN": _local_response})


def _local_response(n: Call) -> Tensor | None:
    """LRN, whose kernel takes a power of each element: a convolution of the squares, and roots.

    The convolution is 1 x 1 with a band of equal weights, and so keeps the blocked layout of the
    convolutions around it.
    """
    x, beta = own_input(n, 0), float(n.attribute("beta", 0.75))
    sizes = dims_of(x.value) or ()
    channels = sizes[1] if len(sizes) > 2 else None
    if x.dtype != FLOAT or not isinstance(channels, int) or channels > _MOST_CHANNELS:
        return None
    if beta not in _EXPONENTS:
        return None
    size = int(n.attribute("size"))
    channel = np.arange(channels)
    distance = channel - channel[:, None]
    band = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
    weights = band * float(n.attribute("alpha", 1e-4)) / size
    bias = np.full(channels, n.attribute("bias", 1.0))
    constant = n.builder.constant
    kernel = constant(weights.reshape(channels, channels, *[1] * (len(sizes) - 2)), FLOAT)
    return x / _power((x * x).op("Conv", kernel, constant(bias, FLOAT)), beta)


def _power(x: Tensor, exponent: float) -> Tensor:
    """Return the power of one of `_EXPONENTS` as roots and products."""
    root = x.op("Sqrt")
    return {0.5: root, 0.75: root * root.op("Sqrt"), 1.0: x}[exponent]
