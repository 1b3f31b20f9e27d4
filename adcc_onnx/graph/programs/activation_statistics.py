"""The range of every activation, and the means of its channels where a convolution reads it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.endpoints import connect_image, image_input, set_endpoints
from adcc_onnx.graph.programs.integer_classifier import averaged_values, calibrated_values
from adcc_onnx.graph.programs.tensor_names import CHANNEL_MEANS, MAXIMA, MINIMA, NAME_PREFIX


def build_activation_statistics(classifier: Classifier) -> ir.Model:
    """Build the model that measures the activations of its images, which are all the same one.

    Args:
        classifier: The classifier; its image size must be fixed.

    Returns:
        A model with the input `image`, float32 [batch, C, H, W], and with the outputs `minima` and
        `maxima`, float32 [V], of the V values of `calibrated_values`, and `channel_means`,
        float32 [K], with the means of all channels of the values of `averaged_values`, one value
        after the other.
    """
    clone, _ = clone_classifier(classifier)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    values = [builder.wrap(value) for value in calibrated_values(clone)]
    averaged = [(builder.wrap(value), k) for value, k in averaged_values(clone).items()]
    minima = [value.op("ReduceMin", keepdims=0).reshape([1]) for value in values]
    maxima = [value.op("ReduceMax", keepdims=0).reshape([1]) for value in values]
    means = [_channel_means(*one) for one in averaged]
    image = image_input(clone)
    connect_image(builder, clone, builder.wrap(image))
    outputs = [(MINIMA, minima), (MAXIMA, maxima), (CHANNEL_MEANS, means)]
    joined = [(name, _joined(builder, parts), None) for name, parts in outputs]
    return set_endpoints(builder, clone.model, [image], joined)


def _channel_means(value: Tensor, channels: int) -> Tensor:
    """Average over all axes but the second one."""
    flat = value.reshape([0, channels, -1])
    return flat.mean([0, 2], keepdims=False)


def _joined(builder: Builder, parts: Sequence[Tensor]) -> Tensor:
    if not parts:
        return builder.constant([], FLOAT)
    return builder.op("Concat", *parts, axis=0)
