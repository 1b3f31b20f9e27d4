"""The gradients of scores that each block of a transformer would give, as LeGrad needs them."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, dims_of
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.attentions import require_self_attentions, with_open_attentions
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.token_stream import block_tokens
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.copied_nodes import copy_nodes
from adcc_onnx.graph.programs.differentiated_scores import differentiated_scores
from adcc_onnx.graph.programs.endpoints import (
    Output,
    add_target,
    class_scores,
    connect_image,
    image_input,
    one_hot,
    set_endpoints,
)
from adcc_onnx.graph.programs.split import downstream_nodes
from adcc_onnx.graph.programs.tensor_names import (
    BLOCK_SCORE_GRADIENTS,
    NAME_PREFIX,
    layer_output,
)


def build_block_score_gradients(classifier: Classifier) -> ir.Model:
    """Build d y_c^l / d A^l for every block l, with A^l the probabilities of its attention.

    y^l is what the head of the model gives for the mean of the tokens that leave block l, put in
    the place of every token that leaves the last block. The inputs are `image`, float32
    [batch, C, H, W], and `target` c, int64 [batch], -1 for the class that the model predicts; the
    outputs are `block_score_gradients`, float32 [batch, heads, tokens, tokens], one per block; see
    `layer_output` for the names of all but the first.

    Args:
        classifier: The classifier; its image size must be fixed.

    Raises:
        ModelError: The model is no sequence of blocks with attentions over all tokens.
        GradientError: The scores cannot be differentiated with respect to an attention.
    """
    clone, _ = clone_classifier(with_open_attentions(classifier))
    attentions = require_self_attentions(clone)
    leaving = block_tokens(clone, attentions)[1:]
    head = downstream_nodes(leaving[-1])
    builder = Builder(clone.model.graph, NAME_PREFIX)
    target = add_target(builder, clone)
    seed = one_hot(class_scores(builder, clone), target)
    outputs: list[Output] = []
    for index, (attention, tokens) in enumerate(zip(attentions, leaving, strict=True)):
        same = builder.wrap(tokens).mean([1]).op("Expand", builder.wrap(tokens).shape())
        same.value.shape = tokens.shape
        copied = copy_nodes(builder.graph, head, leaving[-1], same.value, f"block/{index}/")
        logits = copied.get(clone.logits, clone.logits)
        scores = class_scores(builder, replace(clone, logits=logits))
        score = differentiated_scores(scores, clone, clone.differentiated)
        (found,) = gradients(builder, score.value, seed, [attention.probabilities])
        dims = dims_of(attention.probabilities)
        outputs.append((layer_output(BLOCK_SCORE_GRADIENTS, index), found.cast(FLOAT), dims))
    image = image_input(clone)
    connect_image(builder, clone, builder.wrap(image))
    return set_endpoints(builder, clone.model, [image, target.value], outputs)
