"""Randomize the weights of a classifier, from the scores towards the image."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.gradient import all_inputs
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.programs.clone_classifier import clone_classifier

_FLOAT_TYPES = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE}


def weight_names_from_top(classifier: Classifier) -> list[str]:
    """List the weights between the image and the logits, those nearest to the logits first.

    Weights are constants of rank 2 or more, which excludes biases and normalization parameters.
    """
    names: dict[str, None] = {}
    for node in reversed(classifier.forward_nodes()):
        for value in all_inputs(node):
            tensor = value.const_value
            if tensor is not None and tensor.dtype in _FLOAT_TYPES and len(tensor.shape) >= 2:
                names[value.name or ""] = None
    return list(names)


def randomize_weights(classifier: Classifier, names: list[str], seed: int) -> Classifier:
    """Replace weights by normally distributed numbers of the same mean and standard deviation.

    Args:
        classifier: The classifier; it is not changed.
        names: The names of the weights.
        seed: The random seed.

    Returns:
        A copy of the classifier with the new weights.
    """
    clone, _ = clone_classifier(classifier)
    initializers = clone.model.graph.initializers
    for index, name in enumerate(names):
        tensor = initializers[name].const_value
        assert tensor is not None
        values = tensor.numpy()
        rng = np.random.default_rng([seed, index])
        drawn = rng.normal(
            values.mean(dtype=np.float64), values.std(dtype=np.float64), values.shape
        )
        initializers[name].const_value = ir.tensor(drawn.astype(values.dtype), name=name)
    return clone
