"""The classifier on many perturbations of one image.

Masks are upsampled and multiplied, and pixels replaced, inside the graph, so that the perturbed
images never exist outside it.
"""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.endpoints import (
    class_scores,
    connect_image,
    image_input,
    set_endpoints,
)
from adcc_onnx.graph.programs.map_formulas import upsample_maps
from adcc_onnx.graph.programs.tensor_names import (
    BASELINE,
    COUNTS,
    LOGITS,
    MASKS,
    NAME_PREFIX,
    RANKS,
)


def build_masked(classifier: Classifier, over_baseline: bool = False) -> ir.Model:
    """Build the logits of image * up(mask) for many masks.

    The inputs are `image`, float32 [1, C, H, W], and `masks`, float32 [batch, h, w] of any h and w;
    the output is `logits`, [batch, classes]. `up` is bilinear upsampling (see `upsample_maps`).

    Args:
        classifier: The classifier; its image size must be fixed.
        over_baseline: Whether to add the input `baseline`, float32 [1, C, H, W], and to blend:
            image * up(mask) + baseline * (1 - up(mask)).
    """
    clone, _ = clone_classifier(classifier)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    score = class_scores(builder, clone).cast(FLOAT)
    image = image_input(clone, batch=1)
    masks = ir.val(MASKS, dtype=FLOAT, shape=[clone.batch, "mask_height", "mask_width"])
    inputs = [image, masks]
    upsampled = upsample_maps(builder.wrap(masks), clone.fixed_size)
    perturbed = builder.wrap(image) * upsampled
    if over_baseline:
        baseline = ir.val(BASELINE, dtype=FLOAT, shape=image.shape)
        inputs.append(baseline)
        perturbed = perturbed + builder.wrap(baseline) * (1.0 - upsampled)
    connect_image(builder, clone, perturbed)
    output = (LOGITS, score, (clone.batch, clone.classes))
    return set_endpoints(builder, clone.model, inputs, [output])


def build_pixel_replacement(classifier: Classifier) -> ir.Model:
    """Build the logits of an image whose first pixels are replaced by those of a baseline.

    The inputs are `image` and `baseline`, float32 [1, C, H, W]; `ranks`, float32 [1, 1, H, W], the
    position of each pixel in the order of replacement, from 0; and `counts`, float32 [batch], the
    numbers of replaced pixels. The output is `logits`, [batch, classes].

    Args:
        classifier: The classifier; its image size must be fixed.
    """
    clone, _ = clone_classifier(classifier)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    score = class_scores(builder, clone).cast(FLOAT)
    image, batch = image_input(clone, batch=1), clone.batch
    baseline = ir.val(BASELINE, dtype=FLOAT, shape=image.shape)
    ranks = ir.val(RANKS, dtype=FLOAT, shape=[1, 1, *clone.fixed_size])
    counts = ir.val(COUNTS, dtype=FLOAT, shape=[batch])
    replaced = builder.op("Less", builder.wrap(ranks), builder.wrap(counts).reshape([-1, 1, 1, 1]))
    perturbed = builder.op("Where", replaced, builder.wrap(baseline), builder.wrap(image))
    perturbed.value.shape = ir.Shape([batch, *list(image.shape or ())[1:]])
    connect_image(builder, clone, perturbed)
    inputs = [image, baseline, ranks, counts]
    output = (LOGITS, score, (batch, clone.classes))
    return set_endpoints(builder, clone.model, inputs, [output])
