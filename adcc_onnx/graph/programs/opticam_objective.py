"""The class score behind a mask made of shares of the channels, and its gradient (Opti-CAM)."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Dim, Tensor
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.programs.bake import normalize
from adcc_onnx.graph.programs.endpoints import PREFIX, add_target, class_scores, one_hot
from adcc_onnx.graph.programs.instrument import (
    ACTIVATIONS,
    GRADIENTS,
    IMAGE,
    LOGITS,
    SHARES,
    batch_of,
    copy_of,
    feed,
    finish,
    image_size,
    new_input,
    upsample,
)


def build_share_gradient(classifier: Classifier, layer: Layer) -> ir.Model:
    """y_c of x * up(minmax(sum_k softmax(u)_k ReLU(A_k))), and its gradient in u.

    Inputs are `image` [batch, C, H, W], `activations` [batch, K, h, w], `shares` u [batch, K] and
    `target` int64 [batch]; outputs are `logits` [batch, classes] and `gradients` [batch, K].
    """
    copy, _ = copy_of(classifier)
    builder = Builder(copy.model.graph, PREFIX)
    image, batch = new_input(IMAGE, copy), batch_of(copy)
    kept = ir.val(ACTIVATIONS, dtype=FLOAT, shape=[batch, layer.channels, *layer.grid])
    shares = ir.val(SHARES, dtype=FLOAT, shape=[batch, layer.channels])
    weights = builder.wrap(shares).op("Softmax", axis=1).reshape([0, 1, layer.channels])
    channels = builder.wrap(kept).op("Relu").reshape([0, layer.channels, -1])
    # A product, since ReduceSum rounds differently with the number of images in the batch.
    mixed = weights.op("MatMul", channels).reshape([0, *layer.grid])
    mask = upsample(normalize(mixed), image_size(copy))
    feed(builder, copy, builder.wrap(image) * mask)
    copy.model.graph.sort()
    score = class_scores(builder, copy, "logits")
    target = add_target(builder, copy)
    (gradient,) = gradients(builder, score.value, one_hot(score, target), [shares])
    outputs: list[tuple[str, Tensor, tuple[Dim, ...]]] = [
        (LOGITS, score.cast(FLOAT), (batch, copy.classes)),
        (GRADIENTS, gradient, (batch, layer.channels)),
    ]
    return finish(builder, copy.model, [image, kept, shares, target.value], outputs)
