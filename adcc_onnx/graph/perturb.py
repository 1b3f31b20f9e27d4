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


def build_masked(classifier: Classifier) -> ir.Model:
    """logits[m] of image x up(masks[m]).

    Inputs are `image`, float32 [1, C, H, W], and `masks`, float32 [batch, h, w] of any h and w;
    the output is `logits`, [batch, classes]. `up` is bilinear with half-pixel centres.
    """
    copy, _ = copy_of(classifier)
    builder = Builder(copy.model.graph, PREFIX)
    score = class_scores(builder, copy, "logits").cast(FLOAT)
    image, batch, size = new_input(IMAGE, copy), batch_of(copy), image_size(copy)
    masks = ir.val(MASKS, dtype=FLOAT, shape=[batch, "mask_height", "mask_width"])
    image.shape = ir.Shape([1, copy.channels, *size])
    masked = builder.wrap(image) * upsample(builder.wrap(masks), size)
    feed(builder, copy, masked)
    return finish(builder, copy.model, [image, masks], [(LOGITS, score, (batch, copy.classes))])


def upsample(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """[batch, h, w] -> [batch, 1, H, W], bilinear, half-pixel centres, no antialiasing."""
    builder = masks.builder
    planes = masks.op("Unsqueeze", builder.ints(1))
    sizes = builder.op("Concat", masks.op("Shape", end=1), builder.ints([1, *size]), axis=0)
    return planes.op(
        "Resize",
        None,
        None,
        sizes,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
