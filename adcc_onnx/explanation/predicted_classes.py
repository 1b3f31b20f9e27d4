"""The classes that a model predicts in its own precision, where most passes run in a cheaper one.

Errors of a cheaper precision change the order of classes only where two have nearly equal scores.
Elsewhere, the scores of the cheaper pass decide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import Pass

# A prediction is doubtful if the second class is less far from the first than this part of the
# standard deviation of the image's logits. Of 400 images, int8 changed no undoubted prediction of
# MobileNetV2 and GoogLeNet, and three of DeiT-tiny.
_DOUBTFUL = {"int8": 0.25, "bf16": 0.1}


def predicted_classes(
    model: Model, images: Float32Array, cheaper_logits: Float32Array
) -> NDArray[np.int64]:
    """Return the predicted classes; the doubtful ones by a pass in the model's own precision.

    Args:
        model: A model with passes in a cheaper precision.
        images: The normalized tensors, float32 [N, C, H, W].
        cheaper_logits: Their logits in the cheaper precision, [N, classes].

    Returns:
        The classes, [N].
    """
    classes: NDArray[np.int64] = cheaper_logits.argmax(axis=1)
    highest = np.sort(cheaper_logits, axis=1)[:, -2:]
    margins = highest[:, -1] - highest[:, 0]
    least = _DOUBTFUL[model.cheaper] * cheaper_logits.std(axis=1)
    # A NaN is doubtful, too.
    doubtful = np.flatnonzero(np.logical_not(margins >= least))
    if len(doubtful):
        session = model.pool.session(Pass.FORWARD, exact=True)
        classes[doubtful] = session.run({IMAGE: images[doubtful]})[LOGITS].argmax(axis=1)
    return classes
