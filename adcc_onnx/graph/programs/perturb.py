"""The classifier behind a perturbation: one image and many small descriptions in, scores out.

Masks are upsampled and multiplied, and ranked pixels replaced, inside the graph, so that thousands
of perturbed images never exist outside it.
"""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.programs.endpoints import PREFIX, class_scores
from adcc_onnx.graph.programs.instrument import (
    BASELINE,
    COUNTS,
    IMAGE,
    LOGITS,
    MASKS,
    RANKS,
    batch_of,
    copy_of,
    feed,
    finish,
    image_size,
    new_input,
    upsample,
)


def build_masked(classifier: Classifier, over_baseline: bool = False) -> ir.Model:
    """logits[m] of image x up(masks[m]).

    Inputs are `image`, float32 [1, C, H, W], and `masks`, float32 [batch, h, w] of any h and w;
    the output is `logits`, [batch, classes]. `up` is bilinear with half-pixel centers.

    Args:
        classifier: the model.
        over_baseline: blend with a further input `baseline`, float32 [1, C, H, W]:
            image x up(mask) + baseline x (1 - up(mask)).
    """
    copy, _ = copy_of(classifier)
    builder = Builder(copy.model.graph, PREFIX)
    score = class_scores(builder, copy, "logits").cast(FLOAT)
    image, batch, size = open_masked(copy), batch_of(copy), image_size(copy)
    masks = ir.val(MASKS, dtype=FLOAT, shape=[batch, "mask_height", "mask_width"])
    inputs = [image, masks]
    wide = upsample(builder.wrap(masks), size)
    masked = builder.wrap(image) * wide
    if over_baseline:
        baseline = ir.val(BASELINE, dtype=FLOAT, shape=image.shape)
        inputs.append(baseline)
        masked = masked + builder.wrap(baseline) * (1.0 - wide)
    feed(builder, copy, masked)
    return finish(builder, copy.model, inputs, [(LOGITS, score, (batch, copy.classes))])


def build_ranked(classifier: Classifier) -> ir.Model:
    """logits[t] of the image whose first counts[t] pixels are those of a baseline.

    Inputs are `image` and `baseline`, float32 [1, C, H, W], `ranks`, float32 [1, 1, H, W] (each
    pixel's place in the order of replacement, from 0), and `counts`, float32 [batch]; the output
    is `logits`, [batch, classes].
    """
    copy, _ = copy_of(classifier)
    builder = Builder(copy.model.graph, PREFIX)
    score = class_scores(builder, copy, "logits").cast(FLOAT)
    image, batch = open_masked(copy), batch_of(copy)
    baseline = ir.val(BASELINE, dtype=FLOAT, shape=image.shape)
    ranks = ir.val(RANKS, dtype=FLOAT, shape=[1, 1, *image_size(copy)])
    counts = ir.val(COUNTS, dtype=FLOAT, shape=[batch])
    replaced = builder.op("Less", builder.wrap(ranks), builder.wrap(counts).reshape([-1, 1, 1, 1]))
    perturbed = builder.op("Where", replaced, builder.wrap(baseline), builder.wrap(image))
    perturbed.value.shape = ir.Shape([batch, *list(image.shape or ())[1:]])
    feed(builder, copy, perturbed)
    inputs = [image, baseline, ranks, counts]
    return finish(builder, copy.model, inputs, [(LOGITS, score, (batch, copy.classes))])


def open_masked(classifier: Classifier) -> ir.Value:
    """The input of the one image that all perturbations start from."""
    image = new_input(IMAGE, classifier)
    image.shape = ir.Shape([1, *list(image.shape or ())[1:]])
    return image
