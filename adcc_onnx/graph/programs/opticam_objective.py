"""The objective of Opti-CAM: the class score of the image behind a mask of weighted channels."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.endpoints import (
    Output,
    add_target,
    class_scores,
    connect_image,
    image_input,
    one_hot,
    set_endpoints,
)
from adcc_onnx.graph.programs.map_formulas import normalize_maps, upsample_maps
from adcc_onnx.graph.programs.tensor_names import (
    ACTIVATIONS,
    CHANNEL_LOGITS,
    GRADIENTS,
    LOGITS,
    NAME_PREFIX,
)


def build_opticam_objective(classifier: Classifier, layer: Layer) -> ir.Model:
    """Build y_c(x * up(minmax(sum_k softmax(u)_k ReLU(A_k)))) and its gradient with respect to u.

    The inputs are `image` x [batch, C, H, W], `activations` A [batch, K, h, w], `channel_logits` u
    [batch, K] and `target` c, int64 [batch]; the outputs are `logits` [batch, classes] and
    `gradients` [batch, K].

    Raises:
        GradientError: The logits cannot be differentiated with respect to the image.
    """
    clone, _ = clone_classifier(classifier)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    image, batch = image_input(clone), clone.batch
    activations = ir.val(ACTIVATIONS, dtype=FLOAT, shape=[batch, layer.channels, *layer.grid])
    channel_logits = ir.val(CHANNEL_LOGITS, dtype=FLOAT, shape=[batch, layer.channels])
    weights = builder.wrap(channel_logits).op("Softmax", axis=1)
    weights = weights.reshape([0, 1, layer.channels])
    channels = builder.wrap(activations).op("Relu").reshape([0, layer.channels, -1])
    # A product, since ReduceSum rounds differently with the number of images in the batch.
    raw_map = weights.op("MatMul", channels).reshape([0, *layer.grid])
    mask = upsample_maps(normalize_maps(raw_map), clone.fixed_size)
    connect_image(builder, clone, builder.wrap(image) * mask)
    clone.model.graph.sort()
    score = class_scores(builder, clone)
    target = add_target(builder, clone)
    (gradient,) = gradients(builder, score.value, one_hot(score, target), [channel_logits])
    inputs = [image, activations, channel_logits, target.value]
    outputs: list[Output] = [
        (LOGITS, score.cast(FLOAT), (batch, clone.classes)),
        (GRADIENTS, gradient, (batch, layer.channels)),
    ]
    return set_endpoints(builder, clone.model, inputs, outputs)
