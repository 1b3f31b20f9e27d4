"""Layers that publications name by their place in the network, found by the graph's structure."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.errors import UnknownLayerError
from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.image_input import own_name

_POOLS = {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"}
_ACTIVATIONS = {"Clip", "Relu"}
_MOVES = {"Cast", "DequantizeLinear", "Identity", "Pad", "QuantizeLinear", "Transpose"}


def layer_before_pooling(classifier: Classifier) -> str:
    """Return the name of the last layer before global pooling or flattening.

    Args:
        classifier: The classifier; its image size must be fixed.

    Raises:
        LayerShapeError: The model has no such layer.
    """
    return own_name(default_layer(classifier).value)


def last_activation(classifier: Classifier) -> str:
    """Return the name of the last layer that no pooling computes.

    VGG pools its last activation before the classifier; the two are equal in other networks.

    Args:
        classifier: The classifier; its image size must be fixed.

    Raises:
        LayerShapeError: The model has no such layer.
    """
    value = default_layer(classifier).value
    while (node := value.producer()) is not None and node.op_type in _POOLS | _MOVES:
        source = node.inputs[0]
        if source is None or source is classifier.image:
            break
        value = source
    return own_name(value)


def first_activation_of_block(classifier: Classifier) -> str:
    """Return the name of the first activation of the last residual block.

    The block begins at the value that both its first convolution and its shortcut read.

    Args:
        classifier: The classifier; its image size must be fixed.

    Raises:
        UnknownLayerError: There is no such block.
        LayerShapeError: The model has no layer before pooling.
    """
    last = default_layer(classifier).value
    nodes = [n for n in path_nodes([last], [classifier.image]) if n.op_type == "Conv"]
    found, value = None, nodes[-1].inputs[0] if nodes else None
    while value is not None and len([n for n in value.consumers() if n.op_type != "Shape"]) == 1:
        node = value.producer()
        if node is None:
            break
        found = value if node.op_type in _ACTIVATIONS else found
        value = node.inputs[0]
    if found is None:
        raise UnknownLayerError("the model does not end in a residual block with an activation")
    return own_name(found)


def last_convolution(classifier: Classifier, normalized: bool) -> str:
    """Return the name of the output of the last convolution before global pooling or flattening.

    Args:
        classifier: The classifier; its image size must be fixed.
        normalized: Whether batch normalization follows the convolution in the original network, so
            that a file without it holds another layer.

    Raises:
        UnknownLayerError: The model has no convolution, or its batch normalization is folded into
            the convolutions.
        LayerShapeError: The model has no layer before pooling.
    """
    last = default_layer(classifier).value
    nodes = path_nodes([last], [classifier.image])
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    if not convolutions:
        raise UnknownLayerError("the model has no convolution")
    value = convolutions[-1].outputs[0]
    if normalized and not any(_is_normalization(node) for node in value.consumers()):
        raise UnknownLayerError(
            f"the layer before the last batch normalization does not exist in this file: the "
            f"exporter folded the normalization into the convolution, so '{own_name(value)}' "
            "already holds its result (adcc-onnx export --no-fold keeps it)"
        )
    return own_name(value)


def _is_normalization(node: ir.Node) -> bool:
    return node.op_type == "BatchNormalization"
