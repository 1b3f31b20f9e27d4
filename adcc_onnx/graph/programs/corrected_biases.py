"""Biases of quantized convolutions that make up for the rounding of their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.errors import ModelError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array


def correct_biases(
    model: ir.Model, originals: Mapping[str, ir.Node], means: Mapping[str, Float32Array]
) -> None:
    """Subtract the expected error of each quantized convolution from its bias.

    Rounded weights W' instead of W shift the mean of an output channel by the sum of (W' - W) times
    the mean of each input channel. Padding is neglected.

    Source: Nagel, van Baalen, Blankevoort and Welling, Data-Free Quantization Through Weight
    Equalization and Bias Correction, ICCV 2019, section 4.2.

    Args:
        model: The quantized model, changed in place. Weights, [M, C, ...], and biases, int32 [M],
            are initializers behind DequantizeLinear.
        originals: The convolutions of the model in real numbers, by the names of the nodes.
        means: The mean of each channel of their inputs, [C], by the names of the inputs.

    Raises:
        ModelError: The means are those of another model.
    """
    for node in model.graph:
        original = originals.get(node.name or "")
        if original is None or len(node.inputs) < 3:
            continue
        source = original.inputs[0]
        weight, bias = (_dequantizing(value) for value in node.inputs[1:3])
        mean = None if source is None else means.get(str(source.name))
        if mean is None or weight is None or bias is None:
            continue
        groups = original.attributes.get_int("group", 1)
        rounding = _real(weight) - _array(original.inputs[1])
        if len(mean) != rounding.shape[1] * groups:
            raise ModelError("the calibration is that of another model")
        error = _shift(rounding, mean.reshape(groups, -1))
        stored = bias.inputs[0]
        assert stored is not None
        steps = np.round(error / _array(bias.inputs[1]).astype(np.float64))
        # In a copy, because equal biases may share a tensor.
        name = f"{stored.name}_corrected_{node.name}"
        corrected = ir.tensor((_array(stored) - steps).astype(np.int32), name=name)
        value = ir.val(name, const_value=corrected)
        model.graph.register_initializer(value)
        bias.replace_input_with(0, value)


def _dequantizing(value: ir.Value | None) -> ir.Node | None:
    """Return the DequantizeLinear of a constant that only one node reads; None otherwise."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or len(node.outputs[0].uses()) != 1:
        return None
    stored = node.inputs[0]
    return node if stored is not None and stored.is_initializer() else None


def _real(weight: ir.Node) -> Float64Array:
    """Return symmetric weights with one scale per output channel, [M, C, ...]."""
    stored, scale = _array(weight.inputs[0]), _array(weight.inputs[1])
    real: Float64Array = stored * scale.astype(np.float64).reshape(-1, *[1] * (stored.ndim - 1))
    return real


def _shift(rounding: Float64Array, means: Float32Array) -> Float64Array:
    """Return the shift of each output channel, [M].

    Args:
        rounding: The errors of the weights, [M, C / groups, ...].
        means: The means of the input channels, [groups, C / groups].
    """
    of_pairs = rounding.reshape(*rounding.shape[:2], -1).sum(axis=2)
    of_outputs = means.repeat(len(rounding) // len(means), axis=0)
    shift: Float64Array = (of_pairs * of_outputs).sum(axis=1)
    return shift


def _array(value: ir.Value | None) -> NDArray[Any]:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()
