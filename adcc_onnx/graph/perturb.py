"""The classifier behind a mask: one image and many low-resolution masks in, scores out.

The masks are upsampled and multiplied inside the graph, so that thousands of masked images never
exist outside it.
"""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.build import FLOAT, Builder, Tensor
from adcc_onnx.graph.classifier import Classifier
from adcc_onnx.graph.expose import PREFIX, class_scores
from adcc_onnx.graph.probe import (
    BASELINE,
    IMAGE,
    LOGITS,
    MASKS,
    batch_of,
    copy_of,
    feed,
    finish,
    image_size,
    new_input,
)


def build_masked(classifier: Classifier, over_baseline: bool = False) -> ir.Model:
    """logits[m] of image x up(masks[m]).

    Inputs are `image`, float32 [1, C, H, W], and `masks`, float32 [batch, h, w] of any h and w;
    the output is `logits`, [batch, classes]. `up` is bilinear with half-pixel centres.

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


def open_masked(classifier: Classifier) -> ir.Value:
    """The input of the one image that all masks are laid over."""
    image = new_input(IMAGE, classifier)
    image.shape = ir.Shape([1, *list(image.shape or ())[1:]])
    return image


def upsample(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """[batch, h, w] -> [batch, 1, H, W], bilinear, half-pixel centres, no antialiasing."""
    builder = masks.builder
    planes = masks.op("Unsqueeze", builder.ints(1))
    sizes = builder.op("Concat", masks.op("Shape", end=1), builder.ints([1, *size]), axis=0)
    resized = planes.op(
        "Resize",
        None,
        None,
        sizes,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    batch = None if masks.dims is None else masks.dims[0]
    resized.value.shape = ir.Shape([batch, 1, *size])
    return resized
