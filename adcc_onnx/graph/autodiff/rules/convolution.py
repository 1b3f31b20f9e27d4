"""Gradient rules of convolutions: the gradient of each kind is a convolution of the other kind."""

from __future__ import annotations

from dataclasses import replace

from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import vjp
from adcc_onnx.graph.autodiff.rules.windows import Window, explicit_window, output_sizes, window_of


def conv_input(g: Tensor, n: Call) -> Tensor:
    """Conv, y = x * w: dx is the transposed convolution of g with the same window."""
    kernel = _kernel(n)
    window, group = window_of(n, kernel), n.attribute("group", 1)
    if group > 1 and _can_flip(window):
        return _convolve_flipped(g, n, window, group)
    output_padding = _output_padding(n, window)
    # With unknown sizes, compute as many rows as there may be and crop them at run time.
    padding = (
        [stride - 1 for stride in window.strides] if output_padding is None else output_padding
    )
    gradient = n.builder.op(
        "ConvTranspose", g, n[1], group=group, output_padding=padding, **window.attributes()
    )
    return _crop_to(gradient, n.x, len(kernel)) if output_padding is None else gradient


def conv_bias(g: Tensor, n: Call) -> Tensor:
    """Conv and ConvTranspose: db is the sum of g over the batch and space."""
    return g.sum([0, *range(2, 2 + len(_kernel(n)))], keepdims=False)


def conv_transpose_input(g: Tensor, n: Call) -> Tensor:
    """ConvTranspose, y = x *^T w: dx is the convolution of g with the same window."""
    kernel = _kernel(n)
    if n.attribute("output_shape") is not None or n.attribute("auto_pad", "NOTSET") != "NOTSET":
        window = _window_from_sizes(n, kernel)
    else:
        window = window_of(n, kernel)
    gradient = n.builder.op("Conv", g, n[1], group=n.attribute("group", 1), **window.attributes())
    # With output_padding >= stride, the convolution has more outputs than X has elements.
    return gradient if not n.attribute("output_padding") else _crop_to(gradient, n.x, len(kernel))


def _kernel(n: Call) -> tuple[int, ...]:
    return tuple(n.size(axis, index=1) for axis in range(2, n.rank(1)))


def _can_flip(window: Window) -> bool:
    """Whether a Conv with flipped weights computes the transposed convolution."""
    return set(window.strides) == {1} and all(
        0 <= pad < extent
        for pads in (window.begin, window.end)
        for pad, extent in zip(pads, window.extent, strict=True)
    )


def _convolve_flipped(g: Tensor, n: Call, window: Window, group: int) -> Tensor:
    """Compute a grouped transposed convolution of stride 1 in half the time, by a Conv."""
    spatial = len(window.kernel)
    group_inputs, outputs = n.size(1, index=1), n.size(0, index=1)
    ints = n.builder.ints
    axes = list(range(2, 2 + spatial))
    flipped = n[1].op(
        "Slice", ints([-1] * spatial), ints([-(2**31)] * spatial), ints(axes), ints([-1] * spatial)
    )
    # [M, C / group, k] -> [C, M / group, k], group by group.
    grouped = flipped.reshape([group, outputs // group, group_inputs, *window.kernel])
    swapped = grouped.transpose([0, 2, 1, *range(3, 3 + spatial)])
    kernel = swapped.reshape([group * group_inputs, outputs // group, *window.kernel])
    full = replace(
        window,
        begin=tuple(e - 1 - pad for e, pad in zip(window.extent, window.begin, strict=True)),
        end=tuple(e - 1 - pad for e, pad in zip(window.extent, window.end, strict=True)),
    )
    return n.builder.op("Conv", g, kernel, group=group, **full.attributes())


def _output_padding(n: Call, window: Window) -> list[int] | None:
    """The number of last rows of x outside all windows; None if the size of x is not fixed."""
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
    """Crop the gradient to the spatial size of x, at run time."""
    ints = gradient.builder.ints
    sizes = x.op("Shape", start=2)
    return gradient.op("Slice", ints([0] * spatial), sizes, ints(list(range(2, 2 + spatial))))


def _window_from_sizes(n: Call, kernel: tuple[int, ...]) -> Window:
    """The window of a ConvTranspose that states its output size: the pads follow from it."""
    window = explicit_window(n, kernel)
    upper = n.attribute("auto_pad", "NOTSET") == "SAME_UPPER"
    extra = n.attribute("output_padding", [0] * len(kernel))
    begin, end = [], []
    sizes = zip(output_sizes(n, len(kernel)), window.extent, strict=True)
    for axis, (output, extent) in enumerate(sizes):
        total = (n.size(axis + 2) - 1) * window.strides[axis] + extent + extra[axis] - output
        small, large = total // 2, total - total // 2
        begin.append(small if upper else large)
        end.append(large if upper else small)
    return replace(window, begin=tuple(begin), end=tuple(end))


vjp("Conv", conv_input, None, conv_bias)
vjp("ConvTranspose", conv_transpose_input, None, conv_bias)
