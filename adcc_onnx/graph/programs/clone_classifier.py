"""Clone a classifier, so that a graph can be built from it without changing the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.programs.tensor_names import NAME_PREFIX, RESERVED


def clone_classifier(
    classifier: Classifier, layers: Sequence[Layer] = ()
) -> tuple[Classifier, list[Layer]]:
    """Clone the graph of a classifier; the weights are shared.

    Values of the model whose names are those of our own inputs and outputs are renamed.

    Args:
        classifier: The classifier.
        layers: Layers of the classifier.

    Returns:
        The clone, and the same layers in the clone.
    """
    model = classifier.model.clone()
    by_name = {v.name: v for node in model.graph for v in node.outputs}
    by_name.update({v.name: v for v in model.graph.inputs})
    by_name.update(model.graph.initializers)
    cloned_layers = [replace(layer, value=by_name[layer.value.name]) for layer in layers]
    clone = replace(
        classifier,
        model=model,
        image=by_name[classifier.image.name],
        scores=by_name[classifier.scores.name],
        logits=by_name[classifier.logits.name],
    )
    for value in by_name.values():
        if value.name in RESERVED:
            value.name = f"{NAME_PREFIX}own/{value.name}"
    return clone, cloned_layers
