"""The sliding window that convolutions and pools share: its sizes, strides, dilations and pads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError


@dataclass(frozen=True)
class Window:
    """One window geometry, a number an axis of space.

    Attributes:
        kernel, strides, dilations: in pixels.
        begin, end: the padding before and after, in pixels.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def pads(self) -> list[int]:
        """ONNX order: all begins, then all ends."""
        return [*self.begin, *self.end]

    @property
    def extent(self) -> tuple[int, ...]:
        """How far one dilated window reaches."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def attributes(self) -> dict[str, Any]:
        return {
            "kernel_shape": list(self.kernel),
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "pads": self.pads,
        }


def explicit_window(n: Call, kernel: tuple[int, ...]) -> Window:
    """The window as the attributes give it, `auto_pad` left out of account."""
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
    """The window of a convolution or pool, `auto_pad` resolved to explicit pads.

    Raises:
        RefusalError: `auto_pad` is SAME and the spatial size is not fixed.
    """
    window = explicit_window(n, kernel)
    mode = n.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return window
    none = (0,) * len(kernel)
    begin, end = (none, none) if mode == "VALID" else _same_pads(n, window, mode == "SAME_UPPER")
    return replace(window, begin=begin, end=end)


def _same_pads(n: Call, window: Window, upper: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padding with which the output is ceil(input / stride) long, the odd pixel at one end."""
    begin, end = [], []
    for axis, (stride, extent) in enumerate(zip(window.strides, window.extent, strict=True)):
        size = n.size(axis + 2)
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if upper else large)
        end.append(large if upper else small)
    return tuple(begin), tuple(end)


def spatial_sizes(n: Call, rank: int) -> tuple[int, ...]:
    """The fixed spatial sizes of the first input [N, C, *space]."""
    return tuple(n.size(axis + 2) for axis in range(rank))


def output_sizes(n: Call, rank: int) -> tuple[int, ...]:
    """The fixed spatial sizes of the output."""
    dims = n.y.dims
    sizes = [] if dims is None else [d for d in dims[2:] if isinstance(d, int)]
    if len(sizes) != rank:
        raise UnsupportedNodeError("the spatial size of its output is not fixed (give --size)")
    return tuple(sizes)


def valid_counts(
    sizes: tuple[int, ...], outputs: tuple[int, ...], window: Window, count_pads: bool
) -> NDArray[Any]:
    """How many pixels each output of an average pool divides by, shape `outputs`.

    With `count_pads` the padding counts, but never what ceil mode reaches beyond it.
    """
    total = np.ones(())
    for axis, (size, out) in enumerate(zip(sizes, outputs, strict=True)):
        low = -window.begin[axis] if count_pads else 0
        high = size + window.end[axis] if count_pads else size
        starts = np.arange(out) * window.strides[axis] - window.begin[axis]
        taps = starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        count = ((taps >= low) & (taps < high)).sum(axis=1)
        total = np.multiply.outer(total, count)
    return total
