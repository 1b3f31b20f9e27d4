"""Find the image input of a graph, and its layout."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from adcc_onnx.errors import NoImageInputError
from adcc_onnx.graph.autodiff.builder import dims_of

_IMAGE_TYPES = {
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
    ir.DataType.UINT8,
}
_COLOR_CHANNELS = (3, 1, 4)


def find_image_input(model: ir.Model) -> ir.Value:
    """Find the input that takes the images.

    Raises:
        NoImageInputError: The model has no such input, or has further inputs.
    """
    inputs = list(model.graph.inputs)
    images = [v for v in inputs if len(dims_of(v) or ()) == 4 and v.dtype in _IMAGE_TYPES]
    if len(images) == 1 and len(inputs) == 1:
        return images[0]
    raise NoImageInputError(
        "the model must have one input of rank 4, [batch, channels, height, width] or "
        f"[batch, height, width, channels]; its inputs are {describe_values(inputs)}"
    )


def image_layout(image: ir.Value) -> str:
    """Infer the layout of the image input, "NCHW" or "NHWC".

    The axis whose size can be a number of color channels decides. If both or neither can be, a
    Transpose of the input to channels-first decides.
    """
    dims = dims_of(image) or ()
    first, last = dims[1] in _COLOR_CHANNELS, dims[3] in _COLOR_CHANNELS
    if first != last:
        return "NCHW" if first else "NHWC"
    return "NHWC" if _is_moved_to_channels_first(image) else "NCHW"


def has_certain_layout(image: ir.Value) -> bool:
    """Whether the shape of the image input or an operator behind it decides its layout."""
    dims = dims_of(image) or ()
    consumers = {node.op_type for node in image.consumers()}
    return (
        (dims[1] in _COLOR_CHANNELS) != (dims[3] in _COLOR_CHANNELS)
        or _is_moved_to_channels_first(image)
        or "Conv" in consumers
    )


def _is_moved_to_channels_first(image: ir.Value) -> bool:
    return any(
        node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == [0, 3, 1, 2]
        for node in image.consumers()
        if "perm" in node.attributes
    )


def describe_values(values: Iterable[ir.Value]) -> str:
    """Describe values in an error message, as in ``'x' float [batch, 3, 224, 224]``."""
    described = []
    for value in values:
        dims = dims_of(value)
        shape = "of unknown shape" if dims is None else str([d or "?" for d in dims])
        kind = value.dtype.name.lower() if value.dtype is not None else "unknown"
        described.append(f"'{value.name}' {kind} {shape}".replace("'?'", "?"))
    return ", ".join(described) or "none"
