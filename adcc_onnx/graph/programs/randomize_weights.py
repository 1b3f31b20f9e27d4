"""The classifier with part of its weights drawn anew, from the scores downwards."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.gradient import all_inputs, path_nodes
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.programs.instrument import copy_of

_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE}


def weights_from_top(classifier: Classifier) -> list[str]:
    """The names of the weights on the way from the image to the logits, the last ones first.

    Weights are constants of rank 2 and more; biases and the factors of normalizations are not.
    """
    names: dict[str, None] = {}
    for node in reversed(path_nodes([classifier.logits], [classifier.image])):
        for value in all_inputs(node):
            tensor = value.const_value
            if tensor is not None and tensor.dtype in _FLOATS and len(tensor.shape) >= 2:
                names[value.name or ""] = None
    return list(names)


def redrawn(classifier: Classifier, names: list[str], seed: int) -> Classifier:
    """A copy whose weights of these names are normal numbers of the same mean and deviation."""
    copy, _ = copy_of(classifier)
    initializers = copy.model.graph.initializers
    for index, name in enumerate(names):
        tensor = initializers[name].const_value
        assert tensor is not None
        values = tensor.numpy()
        rng = np.random.default_rng([seed, index])
        drawn = rng.normal(
            values.mean(dtype=np.float64), values.std(dtype=np.float64), values.shape
        )
        initializers[name].const_value = ir.tensor(drawn.astype(values.dtype), name=name)
    return copy
