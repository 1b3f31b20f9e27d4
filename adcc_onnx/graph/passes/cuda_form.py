"""Rewrite a graph so that all of its operators run on a CUDA device, and compute what ONNX defines.

onnxruntime's CUDA provider has no kernel for some operators, and gives wrong results for others.
The former run on the CPU, with a copy of their inputs and outputs, and exclude CUDA graphs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor, dims_of
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.windows import (
    Window,
    explicit_window,
    spatial_sizes,
    valid_counts,
    window_of,
)
from adcc_onnx.graph.passes.batch_arithmetic import BatchValue, fold_batch_arithmetic
from adcc_onnx.graph.passes.dynamic_batch import BATCH
from adcc_onnx.graph.passes.rewriting import Rewriting, own_input, rewrite

_PREFIX = "adcc/cuda/"
# A rewriting of a node, with the values that depend on the batch size only; None keeps the node.
_Rewriting = Callable[[Call, Mapping[str, BatchValue]], Tensor | None]


def to_cuda_form(model: ir.Model) -> None:
    """Rewrite a graph for CUDA, in place; its inputs and outputs stay the same.

    Args:
        model: A prepared model, or a graph that was built from one.
    """
    values = fold_batch_arithmetic(model)
    rewrite(model, _PREFIX, {name: _with(values, found) for name, found in _REWRITINGS.items()})


def _with(values: Mapping[str, BatchValue], rewriting: _Rewriting) -> Rewriting:
    return lambda n: rewriting(n, values)


def _conv(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """Conv with unequal pads, wrong on CUDA (onnxruntime#26215): an explicit Pad."""
    window = window_of(n, _kernel(n))
    if window.begin == window.end:
        return None
    common, begin, end = _split_pads(window)
    padded = own_input(n, 0)
    if any(begin + end):
        padded = padded.op("Pad", n.builder.ints([0, 0, *begin, 0, 0, *end]))
    attributes = {**_attributes(n, "auto_pad"), "pads": [*common, *common]}
    return padded.op("Conv", *_inputs(n)[1:], **attributes)


def _average_pool(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """AveragePool with unequal pads, wrong on CUDA before onnxruntime 1.31: Pad, and a factor.

    cuDNN has one padding for both ends. The factor replaces the divisor of a whole window by the
    number of pixels that count.
    """
    kernel = tuple(n.attribute("kernel_shape"))
    window, rank = window_of(n, kernel), len(kernel)
    if window.begin == window.end:
        return None
    sizes = spatial_sizes(n, rank)
    outputs = _pooled_sizes(sizes, window, bool(n.attribute("ceil_mode", 0)))
    # The pixels that the windows cover; in ceil mode, more than the padded image has.
    ends = [
        (output - 1) * window.strides[axis] + window.extent[axis] - sizes[axis] - begin
        for axis, (output, begin) in enumerate(zip(outputs, window.begin, strict=True))
    ]
    pads = n.builder.ints([0, 0, *window.begin, 0, 0, *ends])
    attributes = _attributes(n, "auto_pad", "pads", "ceil_mode", "count_include_pad")
    mean = own_input(n, 0).op("Pad", pads).op("AveragePool", **attributes)
    counts = valid_counts(sizes, outputs, window, bool(n.attribute("count_include_pad", 0)))
    factors = math.prod(kernel) / counts
    return mean if np.all(factors == 1) else mean * n.builder.constant(factors, mean.dtype)


def _conv_transpose(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """ConvTranspose with unequal pads has no CUDA kernel: equal pads, and a crop."""
    if n.attribute("output_shape") is not None or n.attribute("auto_pad", "NOTSET") != "NOTSET":
        return None
    window = explicit_window(n, _kernel(n))
    if window.begin == window.end:
        return None
    common, begin, end = _split_pads(window)
    if min(begin + end) < 0:
        return None
    attributes = {**_attributes(n), "pads": [*common, *common]}
    whole = n.builder.op("ConvTranspose", *_inputs(n), **attributes)
    ints, last = n.builder.ints, np.iinfo(np.int64).max
    stops = [-size if size else last for size in end]
    return whole.op("Slice", ints(begin), ints(stops), ints(list(range(2, 2 + len(common)))))


def _mean(n: Call, values: Mapping[str, BatchValue]) -> Tensor:
    """Mean has no CUDA kernel: Sum and a division."""
    return n.builder.op("Sum", *_inputs(n)) / float(len(n))


def _resize(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """Resize to computed sizes: only the axes that change, whose sizes are constants."""
    known = _batch_sizes(n, 3, values) if n.has(3) else None
    before, after = n.dims(0), dims_of(n.node.outputs[0])
    after = after if known is None else (BATCH, *known[1:])
    computed = n.has(3) and _is_computed(n, 3)
    if not computed or before is None or after is None or n.attribute("axes") is not None:
        return None
    pairs = list(enumerate(zip(before, after, strict=True)))
    sizes = {axis: new for axis, (old, new) in pairs if old is None or old != new}
    if not sizes and n.attribute("coordinate_transformation_mode") != "tf_crop_and_resize":
        return own_input(n, 0).op("Identity")
    fixed = [size for size in sizes.values() if isinstance(size, int)]
    if not sizes or len(fixed) != len(sizes):
        return None
    options = {**_attributes(n), "axes": list(sizes)}
    return n.builder.op("Resize", own_input(n, 0), None, None, n.builder.ints(fixed), **options)


def _expand(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """Expand to sizes that depend on the batch: a Where broadcasts to them on the device."""
    found = _expand_to_batch(n, values)
    return _expand_like(n) if found is None else found


def _expand_to_batch(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """Expand to the batch and constant sizes, whatever the condition of the Where is."""
    sizes, dims = _batch_sizes(n, 1, values), n.dims(0)
    if sizes is None or dims is None or len(dims) > len(sizes):
        return None
    own = [1] * (len(sizes) - len(dims)) + list(dims)
    flags = _per_sample(n.builder, len(sizes)) if own[0] in (1, BATCH) else None
    if flags is None:
        return None
    x = own_input(n, 0)
    if any(size not in (1, dim) for size, dim in zip(sizes, own, strict=True)):
        x = x.op("Expand", n.builder.ints(sizes))
    return n.builder.op("Where", flags, x, x)


def _expand_like(n: Call) -> Tensor | None:
    """Expand to the shape of a value, which the Where reads instead of the shape.

    onnxruntime moves a Transpose before this value behind the Shape, as a Gather of its sizes.
    """
    sizes = n.node.inputs[1]
    shape = None if sizes is None else sizes.producer()
    if shape is None or shape.op_type != "Shape" or shape.attributes or shape.inputs[0] is None:
        return None
    like, x = n.builder.wrap(shape.inputs[0]), own_input(n, 0)
    return n.builder.op("Where", like.op("Equal", like), x, x)


def _tile(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """Tile of one sample to the batch, as in `_expand`."""
    repeats, dims = _batch_sizes(n, 1, values), n.dims(0)
    flags = _per_sample(n.builder, len(repeats)) if repeats and dims and dims[0] == 1 else None
    if repeats is None or flags is None:
        return None
    x = own_input(n, 0)
    if any(repeat != 1 for repeat in repeats):
        x = x.op("Tile", n.builder.ints(repeats))
    return n.builder.op("Where", flags, x, x)


def _constant_of_shape(n: Call, values: Mapping[str, BatchValue]) -> Tensor | None:
    """ConstantOfShape for the batch: one element, expanded to the batch as in `_expand`."""
    sizes = _batch_sizes(n, 0, values)
    flags = None if sizes is None else _per_sample(n.builder, len(sizes))
    if sizes is None or flags is None:
        return None
    tensor = n.attribute("value")
    value = np.zeros(1, np.float32) if tensor is None else tensor.numpy()
    one = n.builder.constant(value.reshape([1] * len(sizes)))
    return n.builder.op("Where", flags, one, one).op("Expand", n.builder.ints(sizes))


def _batch_sizes(n: Call, index: int, values: Mapping[str, BatchValue]) -> list[int] | None:
    """Return computed sizes whose first one is the batch; the first element stands for it."""
    if not _is_computed(n, index):
        return None
    given = n.node.inputs[index]
    known = None if given is None else values.get(given.name or "")
    if known is None or known.constant.ndim != 1 or len(known.constant) == 0:
        return None
    grows = known.per_sample.tolist()
    if known.constant[0] or grows[0] != 1 or any(grows[1:]) or np.any(known.constant[1:] < 1):
        return None
    return [1, *(int(size) for size in known.constant[1:])]


def _is_computed(n: Call, index: int) -> bool:
    value = n.node.inputs[index]
    return value is not None and value.producer() is not None


def _per_sample(builder: Builder, rank: int) -> Tensor | None:
    """Return a bool for every sample, [batch, 1, ...]; its values have no meaning."""
    for value in builder.graph.inputs:
        dims, ints = dims_of(value), builder.ints
        if dims and dims[0] == BATCH and value.dtype == FLOAT:
            tensor, axes = builder.wrap(value), list(range(1, len(dims)))
            if axes:
                tensor = tensor.op(
                    "Slice", ints([0] * len(axes)), ints([1] * len(axes)), ints(axes)
                )
            return (tensor < 0.0).reshape([-1] + [1] * (rank - 1))
    return None


_REWRITINGS: dict[str, _Rewriting] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Mean": _mean,
    "Resize": _resize,
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Tile": _tile,
}


def _kernel(n: Call) -> tuple[int, ...]:
    return tuple(n.size(axis, index=1) for axis in range(2, n.rank(1)))


def _pooled_sizes(sizes: tuple[int, ...], window: Window, ceil: bool) -> tuple[int, ...]:
    """Return the spatial sizes of a pool's output; no window begins in the padding of the end."""
    outputs = []
    for size, stride, extent, begin, end in zip(
        sizes, window.strides, window.extent, window.begin, window.end, strict=True
    ):
        free = size + begin + end - extent
        output = (-(-free // stride) if ceil else free // stride) + 1
        outputs.append(output - (ceil and (output - 1) * stride >= size + begin))
    return tuple(outputs)


def _split_pads(window: Window) -> tuple[list[int], list[int], list[int]]:
    """Return the padding that both ends have, and what exceeds it before and after each axis."""
    pairs = list(zip(window.begin, window.end, strict=True))
    common = [max(0, min(pair)) for pair in pairs]
    begin = [pad - c for (pad, _), c in zip(pairs, common, strict=True)]
    end = [pad - c for (_, pad), c in zip(pairs, common, strict=True)]
    return common, begin, end


def _attributes(n: Call, *without: str) -> dict[str, Any]:
    return {name: n.attribute(name) for name in n.node.attributes if name not in without}


def _inputs(n: Call) -> list[Tensor | None]:
    """Return the inputs in their own types; those of a Call are widened to float32."""
    return [None if value is None else n.builder.wrap(value) for value in n.node.inputs]
