"""The gradients of weighted sums of the logits with respect to the layers."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.endpoints import (
    class_scores,
    connect_image,
    image_input,
    set_endpoints,
)
from adcc_onnx.graph.programs.instrument import layer_outputs
from adcc_onnx.graph.programs.tensor_names import GRADIENTS, LOGIT_WEIGHTS, NAME_PREFIX


def build_mixed_gradients(classifier: Classifier, layers: Sequence[Layer]) -> ir.Model:
    """Build d (sum_k v_k y_k) / d A for each layer, with a weight v_k of every logit y_k.

    The inputs are `image`, float32 [batch, C, H, W], and `logit_weights` v, float32
    [batch, classes]; there is one output `gradients`, float32 [batch, K, h, w], per layer; see
    `layer_output` for the names of all but the first.

    Args:
        classifier: The classifier; its image size must be fixed.
        layers: The layers.

    Raises:
        GradientError: The logits cannot be differentiated with respect to a layer.
    """
    clone, cloned = clone_classifier(classifier, layers)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    score = class_scores(builder, clone)
    weights = ir.val(LOGIT_WEIGHTS, dtype=FLOAT, shape=[clone.batch, clone.classes])
    seed = builder.wrap(weights).cast(score.dtype)
    found = gradients(builder, score.value, seed, [layer.value for layer in cloned])
    outputs = layer_outputs(GRADIENTS, found, clone, cloned)
    image = image_input(clone)
    connect_image(builder, clone, builder.wrap(image))
    return set_endpoints(builder, clone.model, [image, weights], outputs)
