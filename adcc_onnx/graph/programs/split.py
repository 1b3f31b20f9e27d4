"""The classifier split at a layer: a prefix that runs once per image, and a suffix.

The suffix runs from the layer to the logits, on many masked copies of the layer's activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor, dims_of
from adcc_onnx.graph.autodiff.gradient import all_inputs
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.passes.batch_arithmetic import BatchValue, batch_values
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.endpoints import (
    Output,
    class_scores,
    connect_image,
    image_input,
    set_endpoints,
)
from adcc_onnx.graph.programs.tensor_names import LOGITS, MASKS, NAME_PREFIX

_FLOAT_TYPES = (FLOAT, ir.DataType.FLOAT16, None)


def build_prefix(classifier: Classifier, layer: Layer) -> ir.Model:
    """Build the part of the model up to a layer.

    The input is `image`, float32 [batch, C, H, W]. The outputs are all values that the suffix
    reads: the layer's activations, and the values of connections that bypass the layer.

    Args:
        classifier: The classifier; its image size must be fixed.
        layer: The layer at which the model is split.

    Raises:
        ModelError: The suffix would read integers that depend on the image from before the layer.
    """
    clone, (cut,) = clone_classifier(classifier, [layer])
    builder = Builder(clone.model.graph, NAME_PREFIX)
    values, _ = _boundary_values(clone, downstream_nodes(cut.value), cut.value)
    outputs: list[Output] = [(name, builder.wrap(v), None) for name, v in values.items()]
    image = image_input(clone)
    connect_image(builder, clone, builder.wrap(image))
    return set_endpoints(builder, clone.model, [image], outputs)


def build_suffix(classifier: Classifier, layer: Layer, one_image: bool = False) -> ir.Model:
    """Build the part of the model after a layer: the logits with A replaced by A * mask.

    The inputs are the outputs of the prefix for one image, and `masks`, float32
    [batch, K or 1, h or 1, w or 1]; the output is `logits`, [batch, classes]. Prefix tokens are
    not masked.

    Args:
        classifier: The classifier; its image size must be fixed.
        layer: The layer at which the model is split, with activations A.
        one_image: Whether the inputs declare their shapes, with one row, so that the sizes of all
            values are known.

    Raises:
        ModelError: The suffix would read integers that depend on the image from before the layer.
    """
    clone, (cut,) = clone_classifier(classifier, [layer])
    builder = Builder(clone.model.graph, NAME_PREFIX)
    nodes = downstream_nodes(cut.value)
    boundary, sizes = _boundary_values(clone, nodes, cut.value)
    inputs = {
        value: ir.val(
            name, dtype=value.dtype or FLOAT, shape=_one_row(value) if one_image else None
        )
        for name, value in boundary.items()
    }
    masks = ir.val(MASKS, dtype=FLOAT, shape=["batch", "channels", "mask_height", "mask_width"])
    _clear_shapes(clone.model)
    count = builder.wrap(masks).op("Shape", end=1)
    replacements = {value: _repeat(builder, own, count) for value, own in inputs.items()}
    masked_layer = replace(cut, value=inputs[cut.value])
    replacements[cut.value] = _mask_layer(builder, masked_layer, builder.wrap(masks))
    replacements |= {value: _computed(builder, known, count) for value, known in sizes.items()}
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value in replacements:
                node.replace_input_with(index, replacements[value].value)
    score = class_scores(builder, clone).cast(FLOAT)
    output = (LOGITS, score, ("batch", clone.classes))
    return set_endpoints(builder, clone.model, [*inputs.values(), masks], [output])


def _boundary_values(
    classifier: Classifier, nodes: Sequence[ir.Node], cut: ir.Value
) -> tuple[dict[str, ir.Value], dict[ir.Value, BatchValue]]:
    """Return what the suffix reads from before the layer.

    Args:
        classifier: The whole classifier.
        nodes: The nodes of the suffix.
        cut: The layer.

    Returns:
        The values that pass from the prefix to the suffix, by their names between both, and the
        values that depend on the batch size only, which the suffix computes itself.

    Raises:
        ModelError: An integer depends on the image.
    """
    of_image = {value for node in downstream_nodes(classifier.image) for value in node.outputs}
    # Values that no image changes, such as transposed weights, are computed by the suffix.
    bypassing = [
        value
        for value in _bypassing_values(nodes, cut)
        if value in of_image or value is classifier.image
    ]
    sizes: dict[ir.Value, BatchValue] = {}
    if not all(_has_rows(value) for value in bypassing):
        known = batch_values(classifier.model)
        sizes = {value: known[value.name or ""] for value in bypassing if value.name in known}
    values = [cut, *(value for value in bypassing if value not in sizes)]
    for value in values:
        if value.dtype not in _FLOAT_TYPES:
            raise ModelError(
                f"the model cannot be split at '{cut.name}': an operator after it reads the "
                f"integers '{value.name}', which depend on the image"
            )
    return {f"{NAME_PREFIX}boundary/{index}": value for index, value in enumerate(values)}, sizes


def _has_rows(value: ir.Value) -> bool:
    """Whether a value may have one row per image."""
    return value.dtype in _FLOAT_TYPES and (value.shape is None or len(value.shape) > 0)


def _one_row(value: ir.Value) -> ir.Shape | None:
    dims = dims_of(value)
    return None if dims is None or None in dims[1:] else ir.Shape([1, *dims[1:]])


def _computed(builder: Builder, known: BatchValue, count: Tensor) -> Tensor:
    """Compute a value that depends on the batch size only, for the batch of the suffix."""
    constant = builder.constant(known.constant)
    if not known.depends_on_batch:
        return constant
    batch = count.reshape([1] * known.constant.ndim) if known.constant.ndim else count.op("Squeeze")
    return batch * builder.constant(known.per_sample) + constant


def downstream_nodes(value: ir.Value) -> list[ir.Node]:
    """Return every node whose result depends on the value."""
    found: dict[ir.Node, None] = {}
    pending = [value]
    while pending:
        for node in pending.pop().consumers():
            if node not in found:
                found[node] = None
                pending.extend(node.outputs)
    return list(found)


def _bypassing_values(nodes: Sequence[ir.Node], cut: ir.Value) -> list[ir.Value]:
    """Return what the nodes read apart from the cut, constants and each other's results."""
    computed = {value for node in nodes for value in node.outputs}
    bypassing = {
        value
        for node in nodes
        for value in all_inputs(node)
        if value not in computed and value is not cut and value.const_value is None
    }
    return sorted(bypassing, key=lambda value: value.name or "")


def _clear_shapes(model: ir.Model) -> None:
    """Remove all shapes: the batch size before the cut and the one after it have one name."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None


def _repeat(builder: Builder, value: ir.Value, count: Tensor) -> Tensor:
    """Repeat a value of one image `count` times along the batch axis."""
    tensor = builder.wrap(value)
    rest = tensor.op("Shape", start=1)
    return tensor.op("Expand", builder.op("Concat", count, rest, axis=0))


def _mask_layer(builder: Builder, layer: Layer, masks: Tensor) -> Tensor:
    """Multiply a layer by masks [batch, K or 1, h or 1, w or 1], in the layer's own layout.

    Of an attention, the masks multiply the probabilities of the keys.
    """
    value = builder.wrap(layer.value)
    masks = masks.cast(value.dtype)
    if layer.kind == "feature_map":
        return value * (masks if layer.layout == "NCHW" else masks.transpose([0, 2, 3, 1]))
    flat = masks.reshape([0, 0, -1])
    if layer.kind == "attention":
        # The keys are masked for all queries; the rows are not normalized again.
        flat = flat.op("Unsqueeze", builder.ints(2))
    token_masks = flat.transpose([0, 2, 1]) if layer.layout == "NTC" else flat
    if not layer.prefix_tokens:
        return value * token_masks
    axis, ints = layer.layout.index("T"), builder.ints
    patches = value.op("Slice", ints(layer.prefix_tokens), ints(2**31), ints(axis)) * token_masks
    prefix = value.op("Slice", ints(0), ints(layer.prefix_tokens), ints(axis))
    count = masks.op("Shape", end=1)
    sizes = builder.op("Concat", count, prefix.op("Shape", start=1), axis=0)
    return builder.op("Concat", prefix.op("Expand", sizes), patches, axis=axis)
