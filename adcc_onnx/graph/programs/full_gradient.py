"""The full gradient of a class score: the contributions of the image and of every bias."""

from __future__ import annotations

import functools
import operator

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor, dims_of
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.attentions import attention_operands
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layouts import MAP_LAYOUTS, infer_layouts
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.differentiated_scores import differentiated_scores
from adcc_onnx.graph.programs.endpoints import (
    add_target,
    class_scores,
    connect_image,
    image_input,
    one_hot,
    set_endpoints,
)
from adcc_onnx.graph.programs.map_formulas import upsample_maps
from adcc_onnx.graph.programs.tensor_names import FULL_GRADIENT, NAME_PREFIX


def build_full_gradient(classifier: Classifier) -> ir.Model:
    """Build sum_t up(sum_k rescale(|t|)) over the terms t of the full gradient.

    The terms are x dy_c/dx of the image x, and b dy_c/dz of every bias b that is added in a feature
    map z: of Conv, ConvTranspose and BatchNormalization, and of an Add of one constant per channel,
    as they stand in the file. `rescale` maps the smallest number of a term and image to 0 and the
    largest to 1.

    The inputs are `image`, float32 [batch, C, H, W], and `target` c, int64 [batch]; the output is
    `full_gradient`, float32 [batch, H, W].
    Srinivas and Fleuret, NeurIPS 2019, https://arxiv.org/abs/1905.00780.

    Args:
        classifier: The classifier; its image size must be fixed.

    Raises:
        ModelError: The model is no convolutional network.
        GradientError: The logits cannot be differentiated with respect to the image.
    """
    clone, _ = clone_classifier(classifier)
    require_biases(clone)
    layouts = infer_layouts(clone)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    biases = {value: _bias(builder, value, layouts) for value in _biased_values(clone, layouts)}
    score = differentiated_scores(class_scores(builder, clone), clone, clone.differentiated)
    target = add_target(builder, clone)
    values = [clone.image, *biases]
    slopes = gradients(builder, score.value, one_hot(score, target), values)
    factors = [builder.upcast(clone.image), *biases.values()]
    maps = []
    for value, slope, factor in zip(values, slopes, factors, strict=True):
        slope.value.shape = value.shape  # also where shape inference loses the batch
        term = (slope * factor.cast(slope.dtype)).cast(FLOAT)
        channels_last = layouts[value] == "NHWC"
        maps.append(_map(term.transpose([0, 3, 1, 2]) if channels_last else term, clone.fixed_size))
    total = functools.reduce(operator.add, maps)
    image = image_input(clone)
    connect_image(builder, clone, builder.wrap(image))
    output = (FULL_GRADIENT, total, (clone.batch, *clone.fixed_size))
    return set_endpoints(builder, clone.model, [image, target.value], [output])


def require_biases(classifier: Classifier) -> None:
    """Check that the full gradient of a model is defined.

    Raises:
        ModelError: The model has attention, or hides biases in fused operators.
    """
    nodes = classifier.forward_nodes()
    if any(attention_operands(node) is not None for node in nodes):
        raise ModelError("FullGrad is defined for convolutional networks; the model has attention")
    if any(node.op_type == "FusedConv" for node in nodes):
        raise ModelError("FullGrad needs the gradient inside of the model's FusedConv operators")


def _map(term: Tensor, size: tuple[int, int]) -> Tensor:
    """The map [N, H, W] of a term [N, K, h, w]."""
    builder, sizes = term.builder, term.op("Abs")
    axes = builder.ints([1, 2, 3])
    low = sizes.op("ReduceMin", axes, keepdims=1)
    spread = sizes.op("ReduceMax", axes, keepdims=1) - low
    rescaled = (spread > 0.0).where((sizes - low) / spread, 0.0)
    return upsample_maps(rescaled.sum([1], keepdims=False), size).op("Squeeze", builder.ints(1))


def _biased_values(classifier: Classifier, layouts: dict[ir.Value, str]) -> list[ir.Value]:
    """The feature maps that operators with a bias compute, in order."""
    outputs = [node.outputs[0] for node in classifier.forward_nodes()]
    return [
        value
        for value in outputs
        if layouts.get(value) in MAP_LAYOUTS and _has_bias(_producer(value), layouts[value])
    ]


def _has_bias(node: ir.Node, layout: str) -> bool:
    if node.op_type in ("Conv", "ConvTranspose"):
        return len(node.inputs) > 2 and _is_constant(node.inputs[2])
    if node.op_type == "BatchNormalization":
        return all(map(_is_constant, node.inputs[1:5]))
    return node.op_type == "Add" and _added_constant(node, layout) is not None


def _bias(builder: Builder, value: ir.Value, layouts: dict[ir.Value, str]) -> Tensor:
    """The bias that is added to each channel, of a shape that broadcasts to the feature map."""
    node, layout = _producer(value), layouts[value]
    if node.op_type == "Add":
        constant = _added_constant(node, layout)
        assert constant is not None
        return builder.upcast(constant)
    if node.op_type == "BatchNormalization":
        scale, bias, mean, variance = (builder.upcast(_given(node, i)) for i in range(1, 5))
        epsilon = node.attributes.get_float("epsilon", 1e-5)
        bias = bias - mean * scale / (variance + epsilon).op("Sqrt")
    else:
        bias = builder.upcast(_given(node, 2))
    return bias.reshape([1, -1, 1, 1])


def _added_constant(node: ir.Node, layout: str) -> ir.Value | None:
    """The constant of an Add that has one number per channel."""
    channels = (dims_of(node.outputs[0]) or ())[layout.index("C")]
    for value in node.inputs:
        if value is not None and _is_constant(value):
            shape = [1, 1, 1, 1, *(dims_of(value) or ())][-4:]
            wanted = [channels if axis == "C" else 1 for axis in layout]
            return value if shape == wanted else None
    return None


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def _given(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node
