"""Find the two linear layers of an attention that transform each token alone."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.attentions import (
    SelfAttention,
    attended_values,
    product_with_values,
    require_self_attentions,
)
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.token_stream import is_token_stream

_LINEAR = {"Einsum", "Gemm", "MatMul"}
# Operators that only arrange their first input.
_ARRANGE = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
# Operators that take the values out of a joint projection with queries and keys, or repeat heads.
_SELECT = {"Expand", "Gather", "Slice", "Split"}


@dataclass(frozen=True)
class ValueProjection:
    """The value projection and the output projection of an attention.

    Attributes:
        tokens: The tokens that the value projection reads, [batch, tokens, channels].
        values: The values V, which the attention probabilities are multiplied by.
        product: The product of both, which has the same axes as the values.
        nodes: The nodes from the product to the result of the output projection, which has the
            same shape as `tokens`.
        bias: A bias of the output projection that is added behind the residual connection,
            [channels]; None if there is none.
    """

    tokens: ir.Value
    values: ir.Value
    product: ir.Value
    nodes: tuple[ir.Node, ...]
    bias: ir.Value | None


def require_value_projections(classifier: Classifier) -> list[ValueProjection]:
    """Find the projections of all attentions, in the order of the graph.

    Args:
        classifier: A classifier without fused attentions; see `with_open_attentions`.

    Raises:
        ModelError: The model has other attentions than those over all tokens, or the projections
            of one are not found.
    """
    attentions = require_self_attentions(classifier)
    nodes = classifier.forward_nodes()
    finder = _Finder({classifier.image, *(value for node in nodes for value in node.outputs)})
    projections: list[ValueProjection] = []
    for attention in attentions:
        found = finder.find(attention)
        if found is None:
            raise ModelError(
                "the method needs the linear layers before the values and behind the attention "
                f"'{attention.probabilities.name}', which are not found; the method chefer needs "
                "only the attention"
            )
        projections.append(found)
    return projections


@dataclass(frozen=True)
class _Finder:
    """Finds projections; `of_image` holds all values between the image and the logits."""

    of_image: set[ir.Value]

    def find(self, attention: SelfAttention) -> ValueProjection | None:
        """Return the projections of an attention; None if they are not found."""
        node = product_with_values(attention.probabilities)
        values = attended_values(attention.probabilities)
        if node is None or values not in self.of_image or not _keeps_axes(node, values):
            return None
        product = node.outputs[0]
        tokens = self._projected(values, attention.tokens)
        behind = self._output_projection(product, attention.tokens)
        # Lengths and directions are compared, so both ends must have the same channels.
        if tokens is None or not behind or _channels(tokens) != _channels(behind[-1].outputs[0]):
            return None
        return ValueProjection(tokens, values, product, tuple(behind), self._late_bias(behind))

    def _projected(self, values: ir.Value, tokens: int) -> ir.Value | None:
        """Walk back from the values to the tokens that their projection reads."""
        value, projected = values, False
        while not (projected and is_token_stream(value, tokens)):
            node = value.producer()
            if node is None:
                return None
            if node.op_type in _LINEAR and not projected:
                projected = True
            elif not self._arranges(node, before_projection=not projected):
                return None
            data = self._data(node)
            if data is None:
                return None
            value = data
        return value

    def _output_projection(self, product: ir.Value, tokens: int) -> list[ir.Node]:
        """The nodes from the product to the end of the output projection; none if not found."""
        nodes: list[ir.Node] = []
        value, end, projected = product, 0, False
        while (node := self._reader(value)) is not None and self._data(node) is value:
            if node.op_type in _LINEAR and not projected:
                projected = True
            elif self._adds_constant(node):
                if not projected or self._is_biased(nodes):
                    break
            elif node.op_type not in _ARRANGE:
                break
            nodes.append(node)
            value = node.outputs[0]
            if projected and is_token_stream(value, tokens):
                end = len(nodes)
        return nodes[:end]

    def _late_bias(self, nodes: list[ir.Node]) -> ir.Value | None:
        """The bias that SkipLayerNormalization of onnxruntime adds to the sum with the residual."""
        residual = self._reader(nodes[-1].outputs[0])
        if self._is_biased(nodes) or residual is None or residual.op_type != "Add":
            return None
        node = self._reader(residual.outputs[0])
        if node is None or not self._adds_constant(node):
            return None
        (bias,) = (v for v in node.inputs if v is not None and v not in self.of_image)
        return bias if len(dims_of(bias) or ()) == 1 else None

    def _reader(self, value: ir.Value) -> ir.Node | None:
        """The only node of the classifier that reads a value, besides its shape; None for more."""
        readers = [n for n in value.consumers() if n.outputs[0] in self.of_image]
        nodes = [node for node in readers if node.op_type != "Shape"]
        return nodes[0] if len(nodes) == 1 else None

    def _data(self, node: ir.Node) -> ir.Value | None:
        """The input that a node transforms by constants; None if it combines several."""
        if node.op_type in _ARRANGE | _SELECT:
            return node.inputs[0]
        data = [value for value in node.inputs if value in self.of_image]
        # A product from the left would combine the tokens.
        if len(data) != 1 or (node.op_type in ("Gemm", "MatMul") and data[0] is not node.inputs[0]):
            return None
        return data[0]

    def _arranges(self, node: ir.Node, before_projection: bool) -> bool:
        if node.op_type in _ARRANGE:
            return True
        return before_projection and (node.op_type in _SELECT or self._adds_constant(node))

    def _adds_constant(self, node: ir.Node) -> bool:
        return node.op_type == "Add" and sum(value in self.of_image for value in node.inputs) == 1

    def _is_biased(self, nodes: list[ir.Node]) -> bool:
        """Whether an output projection has its bias already."""
        return any(
            self._adds_constant(node) or (node.op_type == "Gemm" and len(node.inputs) > 2)
            for node in nodes
        )


def _keeps_axes(product: ir.Node, values: ir.Value) -> bool:
    """Whether the product has the axes of the values, so that these can take its place."""
    if product.op_type != "Einsum":
        return product.op_type == "MatMul"
    equation = product.attributes.get_string("equation", "").replace(" ", "")
    terms, _, output = equation.partition("->")
    place = list(product.inputs).index(values)
    own, other = terms.split(",")[place], terms.split(",")[1 - place]
    # The axis of the keys is summed, and that of the queries takes its place.
    keys, queries = set(own) - set(output), (set(other) & set(output)) - set(own)
    if len(keys) != 1 or len(queries) != 1:
        return False
    return own.replace(keys.pop(), queries.pop()) == output


def _channels(tokens: ir.Value) -> object:
    return (dims_of(tokens) or ())[-1]
