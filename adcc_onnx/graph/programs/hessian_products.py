"""The products of the Hessian of a class score with the activations of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Builder
from adcc_onnx.graph.autodiff.gradient import gradients, gradients_or_none
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
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
from adcc_onnx.graph.programs.instrument import layer_outputs
from adcc_onnx.graph.programs.tensor_names import HESSIAN_PRODUCTS, NAME_PREFIX


def build_hessian_products(classifier: Classifier, layers: Sequence[Layer]) -> ir.Model:
    """Build H A for each layer, with H = d^2 y_c / dA^2 the Hessian of the logit y_c.

    H A is the gradient of sum(g * A'), with g = d y_c / d A and A' = A held fixed: the graph of the
    gradient is differentiated once more. H is 0 where the logit is linear in A.

    The inputs are `image`, float32 [batch, C, H, W], and `target` c, int64 [batch]; there is one
    output `hessian_products`, float32 [batch, K, h, w], per layer; see `layer_output` for the names
    of all but the first.

    Args:
        classifier: The classifier; its image size must be fixed.
        layers: The layers.

    Raises:
        GradientError: The logits cannot be differentiated twice with respect to a layer.
    """
    clone, cloned = clone_classifier(classifier, layers)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    score = differentiated_scores(class_scores(builder, clone), clone, clone.differentiated)
    target = add_target(builder, clone)
    values = [layer.value for layer in cloned]
    slopes = gradients(builder, score.value, one_hot(score, target), values)
    products = []
    for value, slope in zip(values, slopes, strict=True):
        activations = builder.upcast(value)
        (product,) = gradients_or_none(builder, slope.value, activations, [value])
        products.append(
            builder.zeros(activations.shape(), slope.dtype) if product is None else product
        )
    outputs = layer_outputs(HESSIAN_PRODUCTS, products, clone, cloned)
    image = image_input(clone)
    connect_image(builder, clone, builder.wrap(image))
    return set_endpoints(builder, clone.model, [image, target.value], outputs)
