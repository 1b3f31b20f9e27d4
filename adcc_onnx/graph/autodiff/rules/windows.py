"""The sliding window of convolutions and pooling: kernel, strides, dilations and padding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window, in pixels, with one number per spatial axis.

    Attributes:
        kernel: Sizes of the kernel.
        strides: Strides of the window.
        dilations: Distances between kernel elements.
        begin: Padding before the first pixel.
        end: Padding after the last pixel.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def pads(self) -> list[int]:
        """The padding in the order of ONNX: all begins, then all ends."""
        return [*self.begin, *self.end]

    @property
    def extent(self) -> tuple[int, ...]:
        """The sizes of the dilated kernel."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of an ONNX convolution or pooling operator."""
        return {
            "kernel_shape": list(self.kernel),
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "pads": self.pads,
        }


def explicit_window(n: Call, kernel: tuple[int, ...]) -> Window:
    """Return the window as the attributes state it, without regard to `auto_pad`.

    Args:
        n: Convolution or pooling node.
        kernel: Sizes of the kernel.

    Returns:
        The window.
    """
    rank = len(kernel)
    pads = n.attribute("pads", [0] * (2 * rank))
    return Window(
        kernel,
        tuple(n.attribute("strides", [1] * rank)),
        tuple(n.attribute("dilations", [1] * rank)),
        tuple(pads[:rank]),
        tuple(pads[rank:]),
    )


def window_of(n: Call, kernel: tuple[int, ...]) -> Window:
    """Return the window of a convolution or pooling node, with `auto_pad` resolved to pads.

    Args:
        n: Convolution or pooling node.
        kernel: Sizes of the kernel.

    Returns:
        The window.

    Raises:
        UnsupportedNodeError: `auto_pad` is SAME and the spatial size is not fixed.
    """
    window = explicit_window(n, kernel)
    mode = n.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return window
    none = (0,) * len(kernel)
    begin, end = (none, none) if mode == "VALID" else _same_pads(n, window, mode == "SAME_UPPER")
    return replace(window, begin=begin, end=end)


def _same_pads(n: Call, window: Window, upper: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padding for an output of ceil(input / stride), with an odd pixel at one end."""
    begin, end = [], []
    for axis, (stride, extent) in enumerate(zip(window.strides, window.extent, strict=True)):
        size = n.size(axis + 2)
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if upper else large)
        end.append(large if upper else small)
    return tuple(begin), tuple(end)


def spatial_sizes(n: Call, rank: int) -> tuple[int, ...]:
    """Return the fixed spatial sizes of the first input [N, C, *space].

    Args:
        n: Convolution or pooling node.
        rank: Number of spatial axes.

    Returns:
        One size per spatial axis.

    Raises:
        UnsupportedNodeError: A size is not fixed.
    """
    return tuple(n.size(axis + 2) for axis in range(rank))


def output_sizes(n: Call, rank: int) -> tuple[int, ...]:
    """Return the fixed spatial sizes of the output [N, C, *space].

    Args:
        n: Convolution or pooling node.
        rank: Number of spatial axes.

    Returns:
        One size per spatial axis.

    Raises:
        UnsupportedNodeError: A size is not fixed.
    """
    dims = n.y.dims
    sizes = [] if dims is None else [d for d in dims[2:] if isinstance(d, int)]
    if len(sizes) != rank:
        raise UnsupportedNodeError("the spatial size of its output is not fixed (give --size)")
    return tuple(sizes)


def valid_counts(
    sizes: tuple[int, ...], outputs: tuple[int, ...], window: Window, count_pads: bool
) -> NDArray[Any]:
    """Count the pixels in the window of each output of an average pool: its divisors.

    Args:
        sizes: Spatial sizes of the input.
        outputs: Spatial sizes of the output.
        window: Window of the pool.
        count_pads: Whether padding counts. Pixels beyond the padding, which ceil mode covers,
            never count.

    Returns:
        Array of counts of the shape `outputs`.
    """
    total = np.ones(())
    for axis, (size, output) in enumerate(zip(sizes, outputs, strict=True)):
        low = -window.begin[axis] if count_pads else 0
        high = size + window.end[axis] if count_pads else size
        starts = np.arange(output) * window.strides[axis] - window.begin[axis]
        pixels = starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        count = ((pixels >= low) & (pixels < high)).sum(axis=1)
        total = np.multiply.outer(total, count)
    return total
