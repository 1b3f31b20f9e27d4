"""The classifier cut at a layer: one image up to there, many versions of the layer from there."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.autodiff.gradient import all_inputs
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.programs.endpoints import PREFIX, class_scores
from adcc_onnx.graph.programs.instrument import (
    IMAGE,
    LOGITS,
    MASKS,
    copy_of,
    feed,
    finish,
    new_input,
)


def build_prefix(classifier: Classifier, layer: Layer) -> ir.Model:
    """What the tail reads of an image: the layer's A, and what goes around the layer.

    The input is `image`, float32 [batch, C, H, W]; outputs are named by `_passed`.

    Raises:
        ModelError: the rest of the model reads the batch's size from before the layer.
    """
    copy, (cut,) = copy_of(classifier, [layer])
    builder = Builder(copy.model.graph, PREFIX)
    values = _passed(_descendants(cut.value), cut.value)
    outputs = [(name, builder.wrap(value), None) for name, value in values.items()]
    image = new_input(IMAGE, copy)
    feed(builder, copy, builder.wrap(image))
    return finish(builder, copy.model, [image], outputs)


def build_suffix(classifier: Classifier, layer: Layer) -> ir.Model:
    """logits[m] with the layer's A replaced by A x masks[m].

    Inputs are what `build_trunk` gives for one image, and `masks`, float32
    [batch, K or 1, h or 1, w or 1]; the output is `logits`, [batch, classes]. Prefix tokens are
    left as they are.

    Raises:
        ModelError: the rest of the model reads the batch's size from before the layer.
    """
    copy, (cut,) = copy_of(classifier, [layer])
    builder = Builder(copy.model.graph, PREFIX)
    behind = _descendants(cut.value)
    passed = {
        value: ir.val(name, dtype=value.dtype or FLOAT)
        for name, value in _passed(behind, cut.value).items()
    }
    masks = ir.val(MASKS, dtype=FLOAT, shape=["batch", "channels", "mask_height", "mask_width"])
    _forget_shapes(copy.model)
    count = builder.wrap(masks).op("Shape", end=1)
    given = replace(cut, value=passed[cut.value])
    versions = {value: _repeated(builder, mine, count) for value, mine in passed.items()}
    versions[cut.value] = _masked(builder, given, builder.wrap(masks))
    for node in behind:
        for index, value in enumerate(node.inputs):
            if value in versions:
                node.replace_input_with(index, versions[value].value)
    score = class_scores(builder, copy, "logits").cast(FLOAT)
    inputs = [*passed.values(), masks]
    return finish(builder, copy.model, inputs, [(LOGITS, score, ("batch", copy.classes))])


def _passed(behind: list[ir.Node], cut: ir.Value) -> dict[str, ir.Value]:
    """What goes from the trunk to the tail, by the names that it has between them."""
    values = [cut, *_read_from_before(behind, cut)]
    return {f"{PREFIX}passed/{index}": value for index, value in enumerate(values)}


def _descendants(value: ir.Value) -> list[ir.Node]:
    """Every node whose result hangs on the value."""
    found: dict[ir.Node, None] = {}
    pending = [value]
    while pending:
        for node in pending.pop().consumers():
            if node not in found:
                found[node] = None
                pending.extend(node.outputs)
    return list(found)


def _read_from_before(nodes: list[ir.Node], cut: ir.Value) -> list[ir.Value]:
    """What the nodes read besides the cut, constants and each other: the ways around the layer."""
    made = {value for node in nodes for value in node.outputs}
    around = {
        value
        for node in nodes
        for value in all_inputs(node)
        if value not in made and value is not cut and value.const_value is None
    }
    for value in around:
        if value.dtype not in (FLOAT, ir.DataType.FLOAT16, None):
            raise ModelError(
                f"the model cannot be cut at '{cut.name}': what follows reads '{value.name}', "
                "which is made of whole numbers"
            )
    return sorted(around, key=lambda value: value.name or "")


def _forget_shapes(model: ir.Model) -> None:
    """One name for the batch would stand for two sizes now, before the cut and after it."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None


def _repeated(builder: Builder, value: ir.Value, count: Tensor) -> Tensor:
    """A value of the one image, for each of `count` masks."""
    tensor = builder.wrap(value)
    rest = tensor.op("Shape", start=1)
    return tensor.op("Expand", builder.op("Concat", count, rest, axis=0))


def _masked(builder: Builder, layer: Layer, masks: Tensor) -> Tensor:
    """A x masks in the layer's own layout."""
    value = builder.wrap(layer.value)
    masks = masks.cast(value.dtype)
    if layer.kind == "feature_map":
        turned = masks if layer.layout == "NCHW" else masks.transpose([0, 2, 3, 1])
        return value * turned
    flat = masks.reshape([0, 0, -1])
    turned = flat if layer.layout == "NCT" else flat.transpose([0, 2, 1])
    axis, ints = layer.layout.index("T"), builder.ints
    if not layer.prefix:
        return value * turned
    patches = value.op("Slice", ints(layer.prefix), ints(2**31), ints(axis)) * turned
    prefix = value.op("Slice", ints(0), ints(layer.prefix), ints(axis))
    count = masks.op("Shape", end=1)
    sizes = builder.op("Concat", count, prefix.op("Shape", start=1), axis=0)
    return builder.op("Concat", prefix.op("Expand", sizes), patches, axis=axis)
