"""Rewrite a graph so that all of its operators run on a CUDA device, and compute what ONNX defines.

onnxruntime's CUDA provider has no kernel for some operators, and gives wrong results for others. The
former run on the CPU, with a copy of their inputs and outputs, and exclude CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Dim, Tensor, dims_of
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.windows import Window, explicit_window, window_of
from adcc_onnx.graph.passes.batch_arithmetic import fold_batch_arithmetic
from adcc_onnx.graph.passes.dynamic_batch import BATCH
from adcc_onnx.graph.passes.prune import prune

_PREFIX = "adcc/cuda/"
# A rewriting: the builder and the node; None keeps the node.
_Rewriting = Callable[[Builder, Call], Tensor | None]


def to_cuda_form(model: ir.Model) -> None:
    """Rewrite a graph for CUDA, in place; its inputs and outputs stay the same.

    Args:
        model: A prepared model, or a graph that was built from one.
    """
    fold_batch_arithmetic(model)
    graph = model.graph
    builder = Builder(graph, _PREFIX)
    rewritten = False
    for node in list(graph):
        rewriting = _REWRITINGS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rewriting is None:
            continue
        replacement = _attempt(rewriting, builder, node)
        if replacement is not None:
            _replace(node, replacement)
            rewritten = True
    if rewritten:
        graph.sort()
    prune(model)


def _attempt(rewriting: _Rewriting, builder: Builder, node: ir.Node) -> Tensor | None:
    try:
        return rewriting(builder, Call(builder, node))
    except UnsupportedNodeError:
        return None  # a shape is not known: the node stays as it is


def _replace(node: ir.Node, replacement: Tensor) -> None:
    """Let all readers of a node's output, and the graph's outputs, read another value."""
    old, new = node.outputs[0], replacement.value
    name, graph = old.name, node.graph
    new.dtype = new.dtype or old.dtype
    new.shape = new.shape or old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    assert graph is not None
    graph.remove(node, safe=True)
    new.name = name


def _conv(builder: Builder, n: Call) -> Tensor | None:
    """Conv with unequal pads, wrong on CUDA (onnxruntime#26215): an explicit Pad."""
    window = window_of(n, _kernel(n))
    if window.begin == window.end:
        return None
    common = tuple(max(0, min(pads)) for pads in zip(window.begin, window.end, strict=True))
    begin, end = _beyond(window, common)
    spatial = len(common)
    pads = builder.ints([0, 0, *begin, 0, 0, *end])
    padded = builder.op("Pad", _raw(builder, n, 0), pads)
    inputs = [_raw(builder, n, index) for index in range(1, len(n))]
    attributes = {**_attributes(n, "auto_pad"), **_symmetric(window, common)}
    assert spatial
    return builder.op("Conv", padded, *inputs, **attributes)


def _conv_transpose(builder: Builder, n: Call) -> Tensor | None:
    """ConvTranspose with unequal pads has no CUDA kernel: equal pads, and a crop."""
    if n.attribute("output_shape") is not None or n.attribute("auto_pad", "NOTSET") != "NOTSET":
        return None
    window = explicit_window(n, _kernel(n))
    if window.begin == window.end:
        return None
    common = tuple(max(0, min(pads)) for pads in zip(window.begin, window.end, strict=True))
    begin, end = _beyond(window, common)
    if min(*begin, *end) < 0:
        return None
    inputs = [_raw(builder, n, index) for index in range(len(n))]
    attributes = {**_attributes(n), **_symmetric(window, common)}
    whole = builder.op("ConvTranspose", *inputs, **attributes)
    stops = [-size if size else np.iinfo(np.int64).max for size in end]
    axes = list(range(2, 2 + len(common)))
    return builder.op("Slice", whole, builder.ints(begin), builder.ints(stops), builder.ints(axes))


def _mean(builder: Builder, n: Call) -> Tensor:
    """Mean has no CUDA kernel: Sum and a division."""
    inputs = [_raw(builder, n, index) for index in range(len(n))]
    return builder.op("Sum", *inputs) / float(len(inputs))


def _resize(builder: Builder, n: Call) -> Tensor | None:
    """Resize to computed sizes: only the axes that change, whose sizes are constants."""
    before, after = n.dims(0), dims_of(n.node.outputs[0])
    computed = n.has(3) and n.node.inputs[3] is not None and n.node.inputs[3].const_value is None
    if not computed or before is None or after is None or n.attribute("axes") is not None:
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(before, after, strict=True)) if a is None or a != b]
    sizes = [after[axis] for axis in axes]
    fixed = [size for size in sizes if isinstance(size, int)]
    if len(fixed) != len(axes) or not axes:
        return None
    return builder.op(
        "Resize", _raw(builder, n, 0), None, None, builder.ints(fixed), axes=axes, **_attributes(n)
    )


def _expand(builder: Builder, n: Call) -> Tensor | None:
    """Expand to the batch: a Where broadcasts to it on the device, whatever its condition is."""
    sizes, after = n.node.inputs[1], dims_of(n.node.outputs[0])
    if sizes is None or sizes.const_value is not None or n.dims(0) is None or not after:
        return None
    rest = [dim for dim in after[1:] if isinstance(dim, int)]
    flags = None if after[0] != BATCH or len(rest) != len(after) - 1 else _per_sample(builder, after)
    if flags is None or not _broadcasts(n.dims(0) or (), rest):
        return None
    x = _raw(builder, n, 0)
    return builder.op("Where", flags, x, x)


def _broadcasts(dims: Sequence[Dim], rest: Sequence[int]) -> bool:
    """Whether x has all sizes of the result but the batch, so that only the batch is expanded."""
    own = [1] * (len(rest) + 1 - len(dims)) + list(dims)
    return own[1:] == list(rest) and own[0] in (1, BATCH)


def _per_sample(builder: Builder, like: Sequence[Dim]) -> Tensor | None:
    """Return a bool for every sample, [batch, 1, ...] with the rank of `like`; its values vary."""
    for value in builder.graph.inputs:
        dims = dims_of(value)
        if dims and dims[0] == BATCH and value.dtype == FLOAT:
            tensor, axes = builder.wrap(value), list(range(1, len(dims)))
            if axes:
                ints = builder.ints
                first = [0] * len(axes)
                tensor = tensor.op("Slice", ints(first), ints([1] * len(axes)), ints(axes))
            flags = (tensor < 0.0).reshape([-1] + [1] * (len(like) - 1))
            return flags
    return None


_REWRITINGS: dict[str, _Rewriting] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Mean": _mean,
    "Resize": _resize,
    "Expand": _expand,
}


def _kernel(n: Call) -> tuple[int, ...]:
    return tuple(n.size(axis, index=1) for axis in range(2, n.rank(1)))


def _beyond(window: Window, common: Sequence[int]) -> tuple[list[int], list[int]]:
    """The padding that exceeds the common one, before and after each axis."""
    begin = [pad - c for pad, c in zip(window.begin, common, strict=True)]
    end = [pad - c for pad, c in zip(window.end, common, strict=True)]
    return begin, end


def _symmetric(window: Window, common: Sequence[int]) -> dict[str, list[int]]:
    return {"pads": [*common, *common], "kernel_shape": list(window.kernel)}


def _attributes(n: Call, *without: str) -> dict[str, object]:
    return {name: n.attribute(name) for name in n.node.attributes if name not in without}


def _raw(builder: Builder, n: Call, index: int) -> Tensor:
    """Return an input in its own type; a Call would widen float16."""
    value = n.node.inputs[index]
    assert value is not None
    return builder.wrap(value)
