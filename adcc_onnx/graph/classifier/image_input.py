"""Find the image input of a graph, its layout and its shape.

An input that holds the pixels in another shape, [N, C*H*W] or [N, H, W], is replaced by an input of
rank 4 and a Reshape; `restore_own_input` undoes this in a finished graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isqrt

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import NoImageInputError
from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.passes.infer_shapes import infer_shapes

PIXELS = "adcc/pixels"  # the name of an input of rank 4 that replaces the model's own

_IMAGE_TYPES = {
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
    ir.DataType.UINT8,
}
_COLOR_CHANNELS = (3, 1, 4)
# Operators between the image and the first convolution that keep the number of channels.
_KEEP_CHANNELS = {
    "Add", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div", "Identity", "Mul",
    "Pad", "QuantizeLinear", "Sub", "Transpose",
}  # fmt: skip


def own_inputs(model: ir.Model) -> list[ir.Value]:
    """Return the inputs of a model without its initializers, which old files list as inputs.

    Args:
        model: The model, prepared or as it was read.
    """
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def image_candidates(inputs: Sequence[ir.Value]) -> list[ir.Value]:
    """Return the inputs that may take the images: those of rank 4, or else those of other ranks.

    Args:
        inputs: Inputs of a model.
    """
    typed = [value for value in inputs if value.dtype in _IMAGE_TYPES]
    by_rank = {rank: [v for v in typed if _rank(v) == rank] for rank in (4, 3, 2, None)}
    return next((found for found in by_rank.values() if found), [])


def declare_image_shape(model: ir.Model, size: tuple[int, int] | None, layout: str | None) -> None:
    """Give the image input the shape that the file leaves out, in place.

    Args:
        model: The model as it was read.
        size: The (height, width) of the images in pixels. An input of unknown rank gets the shape
            [batch, C, H, W], or [batch, H, W, C].
        layout: "NCHW" or "NHWC"; "NCHW" or inferred if None. C is read from the first
            convolution, and is 3 if there is none.
    """
    found = image_candidates(own_inputs(model))
    if len(found) != 1 or _rank(found[0]) not in (4, None):
        return
    image = found[0]
    dims = dims_of(image)
    if dims is None:
        if size is None:
            return
        wanted: dict[str, int | str] = {"N": "batch", "H": size[0], "W": size[1]}
        wanted["C"] = _channels_of_convolution(image) or 3
        image.shape = ir.Shape([wanted[axis] for axis in layout or "NCHW"])
        return
    axis = (layout or image_layout(image)).index("C")
    channels = None if isinstance(dims[axis], int) else _channels_of_convolution(image)
    if channels is not None:
        image.shape = ir.Shape([*dims[:axis], channels, *dims[axis + 1 :]])


def find_image_input(
    model: ir.Model,
    size: tuple[int, int] | None = None,
    layout: str | None = None,
    other_inputs: bool = False,
) -> ir.Value:
    """Find the input that takes the images; one of another rank is replaced by one of rank 4.

    Args:
        model: The prepared model.
        size: The (height, width) of the images in pixels, for inputs of flattened pixels.
        layout: The order of flattened pixels, "NCHW" (the default) or "NHWC".
        other_inputs: Whether the model may have further inputs.

    Raises:
        NoImageInputError: The model has no such input, or has further inputs.
    """
    inputs = own_inputs(model)
    if not other_inputs:
        inputs = _without_unused(model, inputs)
    found = image_candidates(inputs)
    if len(found) == 1 and _rank(found[0]) is not None:
        if len(inputs) > 1 and not other_inputs:
            raise _further_inputs(found[0], inputs)
        dims = _pixel_shape(found[0], size, layout or "NCHW")
        return found[0] if _rank(found[0]) == 4 else _replace_input(model, found[0], dims)
    hint = ""
    if len(found) > 1:
        hint = "; fix all but one by --set NAME=VALUE|FILE.npy"
    elif not found and any(_rank(value) == 4 for value in inputs):
        hint = "; images are numbers of type float, float16, double or uint8"
    elif found:
        hint = "; the file does not say its shape: give --size HxW"
    raise NoImageInputError(
        "the model must have one input of rank 4, [batch, channels, height, width] or "
        f"[batch, height, width, channels]; its inputs are {describe_values(inputs)}{hint}"
    )


def restore_own_input(model: ir.Model, image: ir.Value) -> None:
    """Give a finished graph the model's own image input again, in place.

    Args:
        model: A model that was built from a classifier.
        image: The classifier's image input.
    """
    flat = replaced_input(image)
    if flat is None:
        return
    graph, node = model.graph, flat.producer()
    assert node is not None and node.inputs[1] is not None
    own = ir.Value(name=flat.name, type=flat.type, shape=flat.shape)
    flat.replace_all_uses_with(own, replace_graph_outputs=True)
    graph.inputs[list(graph.inputs).index(image)] = own
    sizes = node.inputs[1]
    graph.remove(node, safe=True)
    graph.initializers.pop(sizes.name or "")
    if image.consumers() or image.is_graph_output():
        dims = [d if isinstance(d, int) else -1 for d in dims_of(image) or ()]
        node, pixels = _reshape(graph, own, [-1, *dims[1:]], f"{PIXELS}/restored")
        graph.insert_before(graph[0], node)
        pixels.type, pixels.shape = image.type, image.shape
        image.replace_all_uses_with(pixels, replace_graph_outputs=True)


def replaced_input(image: ir.Value) -> ir.Value | None:
    """Return the value that stands for the model's own input; None if that is the image itself.

    Args:
        image: The classifier's image input.
    """
    if image.name != PIXELS:
        return None
    return next(node.outputs[0] for node in image.consumers() if node.name == PIXELS)


def own_name(value: ir.Value) -> str:
    """Return the name of a value in the user's file, also of an image input that was replaced.

    Args:
        value: A value of a classifier's graph.
    """
    return (replaced_input(value) or value).name or ""


def image_layout(image: ir.Value) -> str:
    """Infer the layout of the image input, "NCHW" or "NHWC".

    The axis whose size can be a number of color channels decides. If both or neither can be, a
    Transpose of the input to channels-first decides, and then the smaller axis.
    """
    dims = dims_of(image) or ()
    first, last = dims[1] in _COLOR_CHANNELS, dims[3] in _COLOR_CHANNELS
    if first != last:
        return "NCHW" if first else "NHWC"
    if _is_moved_to_channels_first(image):
        return "NHWC"
    smaller = isinstance(dims[1], int) and isinstance(dims[3], int) and dims[3] < dims[1]
    return "NHWC" if smaller and not first else "NCHW"


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


def _rank(value: ir.Value) -> int | None:
    dims = dims_of(value)
    return None if dims is None else len(dims)


def _without_unused(model: ir.Model, inputs: list[ir.Value]) -> list[ir.Value]:
    """Remove the inputs that no operator reads, if others are left."""
    used = [value for value in inputs if value.consumers()]
    for value in inputs if used else []:
        if value not in used:
            model.graph.inputs.remove(value)
    return used or inputs


def _further_inputs(image: ir.Value, inputs: Sequence[ir.Value]) -> NoImageInputError:
    others = [value for value in inputs if value is not image]
    return NoImageInputError(
        f"in addition to the image, the model has the inputs {describe_values(others)}: fix each "
        f"of them by --set, as in --set {others[0].name}=0 or --set {others[0].name}=FILE.npy"
    )


def _pixel_shape(own: ir.Value, size: tuple[int, int] | None, layout: str) -> list[Dim]:
    """Return the shape of rank 4 of an input of flattened pixels or of gray images."""
    dims = dims_of(own) or ()
    if len(dims) == 4:
        return list(dims)
    if len(dims) == 3:
        if isinstance(dims[0], int) and dims[0] > 1 and dims[0] in _COLOR_CHANNELS:
            raise NoImageInputError(
                f"the input {describe_values([own])} has no batch axis: export the model for a "
                "batch of images"
            )
        return [dims[0], 1, *dims[1:]]
    width = dims[1] if isinstance(dims[1], int) else _width_of_product(own)
    if width is None or size is None or width % (size[0] * size[1]):
        raise NoImageInputError(
            f"the input {describe_values([own])} is not an image of rank 4; for flattened pixels "
            f"[batch, C*H*W], give --size HxW{_like(width)}"
        )
    sizes = {"N": dims[0], "C": width // (size[0] * size[1]), "H": size[0], "W": size[1]}
    return [sizes[axis] for axis in layout]


def _like(width: int | None) -> str:
    """Suggest a square size for flattened pixels."""
    for channels in (1, 3):
        side = isqrt((width or 0) // channels)
        if side > 1 and channels * side * side == width:
            return f", such as {side}x{side}"
    return ""


def _replace_input(model: ir.Model, own: ir.Value, dims: Sequence[Dim]) -> ir.Value:
    """Replace an input by one of rank 4; a Reshape gives it the shape of the old one."""
    graph = model.graph
    image = ir.val(PIXELS, dtype=own.dtype, shape=ir.Shape(dims))
    channels_height_width = [d for d in dims[1:] if isinstance(d, int)]
    old = dims_of(own) or ()
    if len(old) == 2:
        old = (old[0], int(np.prod(channels_height_width)))
    elif not all(isinstance(d, int) for d in old[1:]):
        raise NoImageInputError(f"the input {describe_values([own])} must have a fixed size")
    node, flat = _reshape(graph, image, [-1, *[int(d or 0) for d in old[1:]]], PIXELS)
    graph.insert_before(graph[0], node)
    flat.type, flat.shape = own.type, ir.Shape(old)
    own.replace_all_uses_with(flat, replace_graph_outputs=True)
    flat.name = own.name
    graph.inputs[list(graph.inputs).index(own)] = image
    infer_shapes(model)
    return image


def _reshape(
    graph: ir.Graph, value: ir.Value, sizes: Sequence[int], name: str
) -> tuple[ir.Node, ir.Value]:
    constant = ir.val(f"{name}/sizes", const_value=ir.tensor(np.array(sizes, np.int64)))
    graph.register_initializer(constant)
    node = ir.node("Reshape", [value, constant], name=name)
    node.outputs[0].name = name
    return node, node.outputs[0]


def _channels_of_convolution(image: ir.Value) -> int | None:
    """Read the number of channels from the weights of the first convolution."""
    values, known = [image], {image}
    while values:
        for node in values.pop().consumers():
            if node.op_type == "Conv" and not node.domain:
                return _input_channels(node)
            if node.op_type in _KEEP_CHANNELS and node.outputs[0] not in known:
                known.add(node.outputs[0])
                values.append(node.outputs[0])
    return None


def _input_channels(node: ir.Node) -> int | None:
    kernel = _constant_shape(node.inputs[1])
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    return kernel[1] * groups if kernel is not None and len(kernel) == 4 else None


def _width_of_product(own: ir.Value) -> int | None:
    """Read the number of columns from the weights of the first matrix product."""
    for node in own.consumers():
        if node.op_type in ("MatMul", "Gemm") and node.inputs[0] is own:
            shape = _constant_shape(node.inputs[1])
            transposed = "transB" in node.attributes and node.attributes["transB"].as_int()
            if shape is not None and len(shape) == 2:
                return shape[1 if transposed else 0]
    return None


def _constant_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the shape of a weight; it may be the output of a Constant."""
    if value is None:
        return None
    tensor = value.const_value
    producer = value.producer()
    if tensor is None and producer is not None and "value" in producer.attributes:
        tensor = producer.attributes["value"].as_tensor()
    if tensor is None:
        return None
    return tuple(int(size) for size in tensor.shape.numpy())
