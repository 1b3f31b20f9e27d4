"""The classifier with its layers before the explained ones computed in 8-bit integers.

Everything after an explained layer stays in float32, so that gradients are those of a float32
graph, at the activations that the integer part gives.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import ModelError, first_line
from adcc_onnx.graph.autodiff.builder import FLOAT
from adcc_onnx.graph.autodiff.gradient import path_nodes
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer, layers_on
from adcc_onnx.graph.loading.reading import read_proto
from adcc_onnx.graph.loading.saving import to_proto, with_weights
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.programs.corrected_biases import correct_biases
from adcc_onnx.graph.programs.split import downstream_nodes
from adcc_onnx.kernels.arrays import Float32Array

# The lower and the upper end of each tensor, by its name.
Ranges = Mapping[str, tuple[float, float]]
# The mean of each channel of a tensor, [C], by its name.
Means = Mapping[str, Float32Array]

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# They compute nothing, or little, between convolutions: in integers, so that these stay together.
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Relu")
_QUANTIZED = {"QuantizeLinear", "DequantizeLinear"}


def require_quantizable(classifier: Classifier) -> None:
    """Check that a classifier can be quantized.

    Args:
        classifier: The classifier.

    Raises:
        ModelError: It has no float32 products with weights, or is quantized already.
    """
    nodes = list(classifier.model.graph)
    if any(node.op_type in _QUANTIZED for node in nodes):
        raise ModelError(
            "the model is quantized already, and computed in real numbers: use --precision auto"
        )
    dtype = classifier.logits.dtype
    if dtype not in (FLOAT, None):
        raise ModelError(
            f"--precision int8 quantizes float32 models, and this one is {dtype}: use --precision "
            "auto"
        )
    if not any(node.op_type in _WEIGHTED and _has_weight(node) for node in nodes):
        raise ModelError(
            "the model has no convolutions or products with weights that could be quantized: use "
            "--precision fp32"
        )


def calibrated_values(classifier: Classifier) -> list[ir.Value]:
    """Return the values whose ranges the integer part may need.

    Args:
        classifier: The classifier.
    """
    found: dict[ir.Value, None] = {}
    for node in classifier.model.graph:
        if node.op_type in (*_WEIGHTED, *_BETWEEN) and not node.domain:
            for value in (*node.inputs, *node.outputs):
                if value is not None and value.dtype == FLOAT and not value.is_initializer():
                    found[value] = None
    return list(found)


def averaged_values(classifier: Classifier) -> dict[ir.Value, int]:
    """Return the values whose means the biases of the integer part depend on.

    Args:
        classifier: The classifier.

    Returns:
        The inputs of convolutions, [N, C, ...], with their number of channels C.
    """
    found = {}
    for node in classifier.model.graph:
        source = node.inputs[0] if node.op_type == "Conv" and not node.domain else None
        if source is not None and source.dtype == FLOAT and _has_weight(node):
            weight = node.inputs[1]
            assert weight is not None and weight.const_value is not None
            _, of_group, *_ = weight.const_value.numpy().shape
            found[source] = of_group * node.attributes.get_int("group", 1)
    return found


def build_integer_classifier(
    classifier: Classifier, layers: Sequence[Layer], ranges: Ranges, means: Means
) -> tuple[Classifier, tuple[Layer, ...]]:
    """Quantize a classifier up to its explained layers, by onnxruntime's tools.

    Weights get one scale per channel, activations one scale per tensor, and biases are corrected
    (see `correct_biases`). The result holds pairs of QuantizeLinear and DequantizeLinear, which
    onnxruntime fuses into integer kernels.

    Args:
        classifier: The classifier.
        layers: The explained layers; what depends on them stays in float32.
        ranges: The ranges of the values of `calibrated_values`.
        means: The means of the values of `averaged_values`.

    Returns:
        The quantized classifier, and its layers.

    Raises:
        ModelError: The tools of onnxruntime cannot quantize the model.
    """
    clone = classifier.copy()
    kept = layers_on(clone.model, layers)
    for index, node in enumerate(clone.model.graph):
        node.name = f"node{index}"  # the tools identify nodes by their names
    chosen = [node.name for node in _integer_nodes(clone, kept)]
    if not chosen:
        return classifier, tuple(layers)
    convolutions = {
        str(node.name): node
        for node in clone.model.graph
        if node.op_type == "Conv" and node.name in chosen
    }
    model = _quantize(clone.model, chosen, ranges)
    correct_biases(model, convolutions, means)
    model.graph.sort()  # the tools append nodes
    infer_shapes(model)
    return clone.on(model), layers_on(model, layers)


def _integer_nodes(classifier: Classifier, layers: Sequence[Layer]) -> Iterator[ir.Node]:
    """Iterate over the nodes before the layers that are computed in integers."""
    after = {node for layer in layers for node in downstream_nodes(layer.value)}
    ends = {layer.value.producer() for layer in layers}
    path = set(path_nodes([classifier.logits], [classifier.image]))
    # Sums in the residual stream of a transformer lose too much in 8 bits.
    normalized = any(node.op_type == "LayerNormalization" for node in path)
    for node in classifier.model.graph:
        if node.domain or node not in path or node in after:
            continue
        # A weight with a scale per channel is a constant.
        weighted = node.op_type in _WEIGHTED and _has_weight(node)
        between = node.op_type in _BETWEEN and not normalized and node not in ends
        if weighted or between:
            yield node


def _has_weight(node: ir.Node) -> bool:
    weight = node.inputs[1]
    return weight is not None and weight.is_initializer()


def _quantize(model: ir.Model, nodes: list[str | None], ranges: Ranges) -> ir.Model:
    """Quantize some nodes of a model with onnxruntime's tools."""
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    pairs = {name: tuple(np.array(pair, np.float32)) for name, pair in ranges.items()}
    logging.getLogger().addFilter(_quiet)
    try:
        quantizer = QDQQuantizer(
            to_proto(with_weights(model)),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, pairs),
            nodes_to_quantize=nodes,
            nodes_to_exclude=[],
            op_types_to_quantize=[*_WEIGHTED, *_BETWEEN],
            extra_options={},
        )
        quantizer.quantize_model()
        return read_proto(quantizer.model.model)
    except Exception as error:  # the tools raise all kinds of exceptions
        raise ModelError(
            f"the model cannot be quantized ({first_line(error)}); use --precision fp32 or bf16"
        ) from error
    finally:
        logging.getLogger().removeFilter(_quiet)


def _quiet(record: Any) -> bool:
    """Silence the hints of the tools for their direct users."""
    return False
