"""The attentions of a transformer and the tokens between its blocks, as outputs of a graph.

The outputs are `attentions`, the attention probabilities [batch, heads, tokens, tokens], and
`block_tokens`, the tokens [batch, tokens, channels] that enter each block and leave the last one,
all in float32 and once per block; see `layer_output` for the names of all but the first. Their
gradients are `attention_gradients` and `block_gradients`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor, dims_of
from adcc_onnx.graph.classifier.attentions import require_self_attentions
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.token_stream import block_tokens
from adcc_onnx.graph.programs.endpoints import Output
from adcc_onnx.graph.programs.tensor_names import (
    ATTENTION_GRADIENTS,
    ATTENTIONS,
    BLOCK_GRADIENTS,
    BLOCK_TOKENS,
    layer_output,
)

_GRADIENT_NAMES = {ATTENTIONS: ATTENTION_GRADIENTS, BLOCK_TOKENS: BLOCK_GRADIENTS}


def attention_values(classifier: Classifier, with_blocks: bool) -> dict[str, list[ir.Value]]:
    """Return the values that become outputs, by the name of the output.

    Args:
        classifier: A classifier without fused attentions.
        with_blocks: Whether the tokens between the blocks are among the values, if the blocks pass
            on nothing else.

    Raises:
        ModelError: The model has no attentions over all tokens.
    """
    attentions = require_self_attentions(classifier)
    found = {ATTENTIONS: [attention.probabilities for attention in attentions]}
    with suppress(ModelError):
        if with_blocks:
            found[BLOCK_TOKENS] = block_tokens(classifier, attentions)
    return found


def value_outputs(builder: Builder, values: Mapping[str, Sequence[ir.Value]]) -> list[Output]:
    """Return the outputs that hold the values of `attention_values`."""
    outputs: list[Output] = []
    for name, part in values.items():
        tensors = [builder.upcast(value).op("Identity") for value in part]
        outputs += _outputs(name, part, tensors)
    return outputs


def gradient_outputs(
    values: Mapping[str, Sequence[ir.Value]], gradients: Iterable[Tensor]
) -> list[Output]:
    """Return the outputs that hold the gradients with respect to the values of `attention_values`.

    Args:
        values: The values by name.
        gradients: The gradients of all values, in their order.
    """
    remaining = iter(gradients)
    outputs: list[Output] = []
    for name, part in values.items():
        outputs += _outputs(_GRADIENT_NAMES[name], part, [next(remaining) for _ in part])
    return outputs


def _outputs(name: str, values: Sequence[ir.Value], tensors: Sequence[Tensor]) -> list[Output]:
    pairs = zip(values, tensors, strict=True)
    return [
        (layer_output(name, index), tensor.cast(FLOAT), dims_of(value))
        for index, (value, tensor) in enumerate(pairs)
    ]
