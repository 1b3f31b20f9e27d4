"""Rewrite operators of the domain ai.onnx.ml as standard operators, which can be differentiated.

Converters of scikit-learn and Core ML models write them. Trees and support vector machines have no
gradient and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.passes.custom_shapes import DOMAIN

_TINY = 1e-30  # of a norm, so that rows of zeros stay zero
_POST_TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "NONE": lambda scores: scores,
    "LOGISTIC": lambda scores: scores.op("Sigmoid"),
    "SOFTMAX": lambda scores: scores.op("Softmax", axis=1),
}


def rewrite_machine_learning(model: ir.Model) -> None:
    """Rewrite the operators of ai.onnx.ml that are sums, products and selections, in place.

    Args:
        model: A model of opset 18 or later whose constants are initializers.
    """
    found = [node for node in model.graph if node.domain == DOMAIN and node.op_type in _REWRITES]
    builder = Builder(model.graph, "ml/")
    for node in found:
        place, rewrite = _REWRITES[node.op_type]
        with builder.scope(node.name):
            result = rewrite(Call(builder, node))
        if result is None:
            continue
        old, new = node.outputs[place], result.value
        new.shape = new.shape or old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, f"{old.name}/replaced"
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            model.graph.remove(node, safe=True)
    if found:
        model.graph.sort()


def _numbers(n: Call, name: str) -> np.ndarray:
    return np.asarray(n.attribute(name, []), np.float32)


def _linear_classifier(n: Call) -> Tensor | None:
    """The scores x W^T + b, perhaps as probabilities."""
    offsets = _numbers(n, "intercepts")
    labels = n.attribute("classlabels_strings", None) or n.attribute("classlabels_ints", [])
    classes = len(labels)
    weights = _numbers(n, "coefficients")
    transform = _POST_TRANSFORMS.get(n.attribute("post_transform", "NONE"))
    # With one row of weights for two classes, the second score is made from the first.
    if transform is None or not classes or len(offsets) not in (0, classes):
        return None
    if len(weights) % classes or (not len(offsets) and classes == 2):
        return None
    columns = n.builder.constant(weights.reshape(classes, -1).T, FLOAT)
    scores = n[0].cast(FLOAT).op("MatMul", columns)
    return transform(scores + n.builder.constant(offsets, FLOAT) if len(offsets) else scores)


def _normalizer(n: Call) -> Tensor | None:
    """Divide each row by its norm."""
    operator = {"L1": "ReduceL1", "L2": "ReduceL2"}.get(n.attribute("norm", "MAX"))
    if operator is None:
        return None
    x = n[0].cast(FLOAT)
    norm = x.op(operator, n.builder.ints([1]), keepdims=1)
    return x / norm.op("Max", n.builder.constant(_TINY, FLOAT))


def _scaler(n: Call) -> Tensor:
    """Subtract an offset and multiply by a scale, one for each column or one for all."""
    x = n[0].cast(FLOAT)
    if len(offset := _numbers(n, "offset")):
        x = x - n.builder.constant(offset, FLOAT)
    if len(scale := _numbers(n, "scale")):
        x = x * n.builder.constant(scale, FLOAT)
    return x


def _array_feature_extractor(n: Call) -> Tensor | None:
    """Select columns; labels that a prediction selects are left as they are."""
    columns = n.node.inputs[1]
    constant = None if columns is None else ir.convenience.get_const_tensor(columns)
    if constant is None:
        return None
    return n[0].op(
        "Gather", n.builder.ints([int(i) for i in constant.numpy().reshape(-1)]), axis=-1
    )


# The output that is rewritten, and how; None if it cannot be.
_REWRITES: dict[str, tuple[int, Callable[[Call], Tensor | None]]] = {
    "ArrayFeatureExtractor": (0, _array_feature_extractor),
    "LinearClassifier": (1, _linear_classifier),
    "Normalizer": (0, _normalizer),
    "Scaler": (0, _scaler),
}
