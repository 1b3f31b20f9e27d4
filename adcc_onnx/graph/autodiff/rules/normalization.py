"""Gradient rules of normalizations and softmax."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp


def softmax(g: Tensor, n: Call) -> Tensor:
    """Softmax: dx = y (g - sum g y)."""
    axis = [n.attribute("axis", -1)]
    return n.y * (g - (g * n.y).sum(axis))


def log_softmax(g: Tensor, n: Call) -> Tensor:
    """LogSoftmax: dx = g - e^y sum g."""
    return g - n.y.op("Exp") * g.sum([n.attribute("axis", -1)])


def batch_normalization(g: Tensor, n: Call) -> Tensor:
    """BatchNormalization at inference: dx = g scale / sqrt(var + epsilon)."""
    if n.attribute("training_mode", 0):
        raise UnsupportedNodeError("it is in training mode; export the model for inference")
    factor = n[1] / (n[4] + _epsilon(n)).op("Sqrt")
    return g * factor.reshape([1, -1, *[1] * (n.rank() - 2)])


def _epsilon(n: Call) -> float:
    return float(n.attribute("epsilon", 1e-5))


def standardize(x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor]:
    """Build z = (x - mean) / std and 1 / std over axes."""
    centered = x - x.mean(axes)
    inverse = ((centered * centered).mean(axes) + epsilon).op("Sqrt").op("Reciprocal")
    return centered * inverse, inverse


def standardize_vjp(g: Tensor, z: Tensor, inverse: Tensor, axes: Sequence[int]) -> Tensor:
    """For z = (x - mean) / std: dx = (g - mean g - z mean(g z)) / std."""
    return inverse * (g - g.mean(axes) - z * (g * z).mean(axes))


def layer_normalization(g: Tensor, n: Call) -> Tensor:
    """LayerNormalization, y = scale z + bias: dz = g scale, then as `standardize_vjp`."""
    axes = list(range(n.axis(-1), n.rank()))
    z, inverse = standardize(n.x, axes, _epsilon(n))
    return standardize_vjp(g * n[1], z, inverse, axes)


def layer_normalization_scale(g: Tensor, n: Call) -> Tensor:
    """LayerNormalization: dscale = g z, summed over the leading axes."""
    axes = list(range(n.axis(-1), n.rank()))
    z, _ = standardize(n.x, axes, _epsilon(n))
    return (g * z).sum(list(range(axes[0])), keepdims=False)


def layer_normalization_bias(g: Tensor, n: Call) -> Tensor:
    """LayerNormalization: dbias = g, summed over the leading axes."""
    return g.sum(list(range(n.axis(-1))), keepdims=False)


def rms_normalization(g: Tensor, n: Call) -> Tensor:
    """RMSNormalization: y = scale z, z = x / r, r = sqrt(mean x^2 + epsilon).

    With dz = g scale, dx = (dz - z mean(dz z)) / r.
    """
    axes = list(range(n.axis(-1), n.rank()))
    square = (n.x * n.x).mean(axes) + _epsilon(n)
    inverse = square.op("Sqrt").op("Reciprocal")
    z, scaled = n.x * inverse, g * n[1]
    return inverse * (scaled - z * (scaled * z).mean(axes))


def instance_normalization(g: Tensor, n: Call) -> Tensor:
    """InstanceNormalization: standardizes each channel of each image over space."""
    axes = list(range(2, n.rank()))
    z, inverse = standardize(n.x, axes, _epsilon(n))
    scale = n[1].reshape([1, -1, *[1] * len(axes)])
    return standardize_vjp(g * scale, z, inverse, axes)


def group_normalization(g: Tensor, n: Call) -> Tensor:
    """GroupNormalization: standardizes the channels and pixels of a group together."""
    groups = int(n.attribute("num_groups"))
    z, inverse = standardize(n.x.reshape([0, groups, -1]), [2], _epsilon(n))
    # The scale has one value per group in opset 18, and one per channel in opset 21.
    pixels = g.reshape([0, n.size(0, index=1), -1])
    scaled = (pixels * n[1].reshape([1, -1, 1])).reshape([0, groups, -1])
    return standardize_vjp(scaled, z, inverse, [2]).reshape(n.x.shape())


def lp_normalization(g: Tensor, n: Call) -> Tensor:
    """LpNormalization, y = x / |x|_p: dx = (g - d|x|_p sum(g y)) / |x|_p."""
    axis = [n.attribute("axis", -1)]
    ints = n.builder.ints(axis)
    if n.attribute("p", 2) == 1:
        norm, slope = n.x.op("ReduceL1", ints), n.x.sign()
    else:
        norm, slope = n.x.op("ReduceL2", ints), n.y
    return (g - slope * (g * n.y).sum(axis)) / norm


def local_response(g: Tensor, n: Call) -> Tensor:
    """LRN: y = x s^-b, s = bias + (alpha / size) sum_window x^2 over a window of channels.

    dx_c = g_c s_c^-b - (2 alpha b / size) x_c sum g_c' y_c' / s_c' over all c' whose window
    contains c. An even window has one channel more after c than before it, and the sum in dx the
    reverse.
    """
    alpha, beta = float(n.attribute("alpha", 1e-4)), float(n.attribute("beta", 0.75))
    size, bias = int(n.attribute("size")), float(n.attribute("bias", 1.0))
    before, after = (size - 1) // 2, size // 2
    s = bias + alpha * _channel_mean(n.x * n.x, size, before, after)
    coupled = _channel_mean(g * n.y / s, size, after, before)
    return g * s ** (-beta) - (2.0 * alpha * beta) * n.x * coupled


def _channel_mean(x: Tensor, size: int, before: int, after: int) -> Tensor:
    """The mean over a window of channels, with zeros beyond the first and the last channel."""
    ints = x.builder.ints
    plane = x.reshape([0, 0, -1]).op("Unsqueeze", ints(1))  # [N, 1, C, pixels]
    mean = plane.op(
        "AveragePool", kernel_shape=[size, 1], pads=[before, 0, after, 0], count_include_pad=1
    )
    return mean.reshape(x.shape())


vjp("Softmax", softmax)
vjp("LogSoftmax", log_softmax)
vjp("BatchNormalization", batch_normalization, None, None, None, None)
vjp(
    "LayerNormalization",
    layer_normalization,
    layer_normalization_scale,
    layer_normalization_bias,
)
vjp("RMSNormalization", rms_normalization, None)
vjp("InstanceNormalization", instance_normalization, None, None)
vjp("GroupNormalization", group_normalization, None, None)
vjp("LpNormalization", lp_normalization)
vjp("LRN", local_response)
