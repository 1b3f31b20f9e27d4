"""Convolutions: each is the other's transpose."""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp
from adcc_onnx.graph.autodiff.rules.windows import Window, explicit_window, output_sizes, window_of


def conv_input(g: Tensor, n: Call) -> Tensor:
    """Y = X * W: dX is g through the transposed convolution with the same window"""
    kernel = _kernel(n)
    window, group = window_of(n, kernel), n.attribute("group", 1)
    if group > 1 and _is_dense(window):
        return _flipped_convolution(g, n, window, group)
    over = _output_padding(n, window)
    exact = over is not None
    padding = over if over is not None else [stride - 1 for stride in window.strides]
    gradient = n.builder.op(
        "ConvTranspose", g, n[1], group=group, output_padding=padding, **window.attributes()
    )
    return gradient if exact else _crop_to(gradient, n.x, len(kernel))


def conv_bias(g: Tensor, n: Call) -> Tensor:
    return g.sum([0, *range(2, 2 + len(_kernel(n)))], keepdims=False)


def conv_transpose_input(g: Tensor, n: Call) -> Tensor:
    """Y = X *^T W: dX is g through the plain convolution with the same window"""
    kernel = _kernel(n)
    if n.attribute("output_shape") is not None or n.attribute("auto_pad", "NOTSET") != "NOTSET":
        window = _window_from_sizes(n, kernel)
    else:
        window = window_of(n, kernel)
    gradient = n.builder.op("Conv", g, n[1], group=n.attribute("group", 1), **window.attributes())
    # With output_padding >= stride the convolution finds a place more than X has.
    return gradient if not n.attribute("output_padding") else _crop_to(gradient, n.x, len(kernel))


def _kernel(n: Call) -> tuple[int, ...]:
    return tuple(n.size(axis, index=1) for axis in range(2, n.rank(1)))


def _is_dense(window: Window) -> bool:
    """Stride 1 and no more padding than the window reaches: a Conv can do the transpose."""
    reach = [extent - 1 for extent in window.extent]
    return set(window.strides) == {1} and all(
        0 <= pad <= far
        for pads in (window.begin, window.end)
        for pad, far in zip(pads, reach, strict=True)
    )


def _flipped_convolution(g: Tensor, n: Call, window: Window, group: int) -> Tensor:
    """Grouped, stride 1: a Conv with the flipped kernel takes half the time of ConvTranspose."""
    spatial = len(window.kernel)
    inner, channels = n.size(1, index=1), n.size(0, index=1)
    ints = n.builder.ints
    axes = list(range(2, 2 + spatial))
    backwards = n[1].op(
        "Slice", ints([-1] * spatial), ints([-(2**31)] * spatial), ints(axes), ints([-1] * spatial)
    )
    # [M, C / group, k] -> [C, M / group, k], group by group.
    split = backwards.reshape([group, channels // group, inner, *window.kernel])
    swapped = split.transpose([0, 2, 1, *range(3, 3 + spatial)])
    kernel = swapped.reshape([group * inner, channels // group, *window.kernel])
    mirrored = Window(
        window.kernel,
        window.strides,
        window.dilations,
        tuple(far - 1 - pad for far, pad in zip(window.extent, window.begin, strict=True)),
        tuple(far - 1 - pad for far, pad in zip(window.extent, window.end, strict=True)),
    )
    return n.builder.op("Conv", g, kernel, group=group, **mirrored.attributes())


def _output_padding(n: Call, window: Window) -> list[int] | None:
    """How many last rows of X no window reached; None where the size of X is not fixed."""
    dims = n.dims(0)
    if dims is None:
        return None
    padding = []
    for axis, size in enumerate(dims[2:]):
        if not isinstance(size, int):
            return None
        padded = size + window.begin[axis] + window.end[axis]
        padding.append((padded - window.extent[axis]) % window.strides[axis])
    return padding


def _crop_to(gradient: Tensor, x: Tensor, spatial: int) -> Tensor:
    """The leading part of `gradient` that has the spatial size of x, found when the graph runs."""
    ints = gradient.builder.ints
    sizes = x.op("Shape", start=2)
    return gradient.op("Slice", ints([0] * spatial), sizes, ints(list(range(2, 2 + spatial))))


def _window_from_sizes(n: Call, kernel: tuple[int, ...]) -> Window:
    """ConvTranspose that gives its output's size instead of its pads: the pads follow from it."""
    plain = explicit_window(n, kernel)
    upper = n.attribute("auto_pad", "NOTSET") == "SAME_UPPER"
    extra = n.attribute("output_padding", [0] * len(kernel))
    begin, end = [], []
    for axis, (out, reach) in enumerate(
        zip(output_sizes(n, len(kernel)), plain.extent, strict=True)
    ):
        total = (n.size(axis + 2) - 1) * plain.strides[axis] + reach + extra[axis] - out
        small, large = total // 2, total - total // 2
        begin.append(small if upper else large)
        end.append(large if upper else small)
    return Window(kernel, plain.strides, plain.dilations, tuple(begin), tuple(end))


vjp("Conv", conv_input, None, conv_bias)
vjp("ConvTranspose", conv_transpose_input, None, conv_bias)
