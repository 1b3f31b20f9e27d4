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
    clone = classifier.copy()
    graph = clone.model.graph
    by_name = {v.name: v for node in graph for v in node.outputs}
    by_name.update({v.name: v for v in graph.inputs})
    by_name.update(graph.initializers)
    cloned_layers = [replace(layer, value=by_name[layer.value.name]) for layer in layers]
    for value in by_name.values():
        if value.name in RESERVED:
            value.name = f"{NAME_PREFIX}own/{value.name}"
    return clone, cloned_layers
