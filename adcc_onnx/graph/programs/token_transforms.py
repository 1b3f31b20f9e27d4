"""What the projections of each attention make of each token alone, as outputs of a graph.

The outputs are `untransformed_tokens`, the tokens that the value projection reads, and
`transformed_tokens`, the output projection of the values themselves instead of their attended sums.
Both are float32 [batch, tokens, channels] and exist once per block; see `layer_output` for the
names of all but the first.
"""

from __future__ import annotations

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor, dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.value_projections import ValueProjection, require_value_projections
from adcc_onnx.graph.programs.copied_nodes import copy_nodes
from adcc_onnx.graph.programs.endpoints import Output
from adcc_onnx.graph.programs.tensor_names import (
    TRANSFORMED_TOKENS,
    UNTRANSFORMED_TOKENS,
    layer_output,
)


def transform_outputs(builder: Builder, classifier: Classifier) -> list[Output]:
    """Append the output projections of the values, and return the outputs.

    Args:
        builder: Appends to the graph of the classifier.
        classifier: A classifier without fused attentions.

    Raises:
        ModelError: The projections of an attention are not found.
    """
    outputs: list[Output] = []
    for index, found in enumerate(require_value_projections(classifier)):
        before = builder.upcast(found.tokens).op("Identity")
        after = _transformed(builder, found, index)
        for name, tensor in ((UNTRANSFORMED_TOKENS, before), (TRANSFORMED_TOKENS, after)):
            dims = dims_of(found.tokens)
            outputs.append((layer_output(name, index), tensor.cast(FLOAT), dims))
    return outputs


def _transformed(builder: Builder, found: ValueProjection, index: int) -> Tensor:
    prefix = f"transform/{index}/"
    copies = copy_nodes(builder.graph, found.nodes, found.product, found.values, prefix)
    transformed = builder.upcast(copies[found.nodes[-1].outputs[0]])
    return transformed if found.bias is None else transformed + builder.upcast(found.bias)
