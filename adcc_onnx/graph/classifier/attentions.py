"""Find the attentions of a transformer, however exporters write them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.passes.decompose_attention import (
    decompose_attentions,
    is_fused,
    is_fused_attention,
)

# Operators of quantized models, which round their input.
_ROUNDING = {"DequantizeLinear", "QuantizeLinear"}
# Operators that exporters write between Q K^T and the softmax.
_BEFORE_SOFTMAX = {"Add", "Cast", "Div", "Mul", "Reshape", "Where"} | _ROUNDING
# Operators that exporters write between the softmax and the values of an attention.
_BEFORE_PRODUCT = {
    "Cast", "Dropout", "Identity", "IsNaN", "Mul", "Reshape", "Transpose", "Where"
} | _ROUNDING  # fmt: skip


@dataclass(frozen=True)
class SelfAttention:
    """A self-attention in which every token attends to all tokens of the image.

    Attributes:
        probabilities: The attention probabilities, [batch, heads, tokens, tokens]: a row for each
            query token, whose sum is 1.
        heads: The number of heads.
        tokens: The number of tokens.
    """

    probabilities: ir.Value
    heads: int
    tokens: int


def find_self_attentions(classifier: Classifier) -> list[SelfAttention]:
    """List the self-attentions over all tokens, in the order of the graph.

    Attentions within windows, to fewer keys than tokens, or from learned queries are left out.
    """
    values = [node.outputs[0] for node in classifier.forward_nodes()]
    found = (read_self_attention(classifier, value) for value in values)
    return [attention for attention in found if attention is not None]


def with_open_attentions(classifier: Classifier) -> Classifier:
    """Return the classifier with its fused operators written in simpler ones.

    Only then are the attention probabilities, and the tokens between two blocks, values of the
    graph. Values keep their names.

    Args:
        classifier: The classifier; it is not changed.
    """
    if not any(is_fused(node) for node in classifier.model.graph):
        return classifier
    copy = classifier.copy()
    decompose_attentions(copy.model)
    return copy


def require_self_attentions(classifier: Classifier) -> list[SelfAttention]:
    """List the self-attentions of a model in which all of them are over the same tokens.

    A last attention in which learned queries pool the tokens is allowed, and left out.

    Args:
        classifier: A classifier without fused attentions; see `with_open_attentions`.

    Raises:
        ModelError: There is none, or there are attentions of another kind.
    """
    found = find_self_attentions(classifier)
    known = {attention.probabilities for attention in found}
    nodes = classifier.forward_nodes()
    of_image = {value for node in nodes for value in node.outputs}
    others = [
        node
        for node in nodes
        if attention_operands(node) is not None
        and node.outputs[0] not in known
        and not _has_learned_queries(node, of_image)
    ]
    if not found and not others:
        raise ModelError("the model has no attention, which the method needs")
    if not found or others or len({attention.tokens for attention in found}) > 1:
        raise ModelError(
            "the method needs attentions over all tokens of the image; those of the model are "
            "within windows, or over tokens that are merged on the way"
        )
    return found


def read_self_attention(classifier: Classifier, value: ir.Value) -> SelfAttention | None:
    """Read a value as the probabilities of a self-attention over all tokens; None if it is not."""
    node, dims = value.producer(), dims_of(value) or ()
    if node is None or not _normalizes_last_axis(node) or len(dims) != 4:
        return None
    batch, heads, queries, keys = dims
    square = isinstance(queries, int) and queries == keys and queries > 1
    if not (square and isinstance(heads, int) and batch == classifier.batch):
        return None
    assert isinstance(queries, int)
    if product_with_values(value) is None or not queries_and_keys(node):
        return None
    return SelfAttention(value, heads, queries)


def attention_operands(node: ir.Node) -> list[ir.Value] | None:
    """Return the queries, keys and values of an attention, however it is written.

    Args:
        node: A fused attention, or the softmax of another one.

    Returns:
        The values; None for any other node.
    """
    if is_fused_attention(node):
        return [value for value in node.inputs[:3] if value is not None]
    if node.op_type != "Softmax" or len(dims_of(node.outputs[0]) or ()) < 3:
        return None
    product = product_with_values(node.outputs[0])
    if product is None:
        return None
    values = [v for v in product.inputs if v is not None]
    return [*queries_and_keys(node), *values]


def queries_and_keys(softmax: ir.Node) -> list[ir.Value]:
    """Return the factors of the product Q K^T that a softmax normalizes.

    There are none in linear attention, which normalizes the keys themselves.
    """
    value = softmax.inputs[0]
    while value is not None and (node := value.producer()) is not None:
        if node.op_type in ("MatMul", "Einsum"):
            factors = [v for v in node.inputs if v is not None]
            return [] if factors[-1].is_initializer() else factors
        if node.op_type not in _BEFORE_SOFTMAX:
            break
        value = node.inputs[0]
    return []


def product_with_values(probabilities: ir.Value) -> ir.Node | None:
    """Return the matrix product that attention probabilities enter.

    Exporters write a Cast, a Dropout or a guard against NaN (IsNaN and Where) between them.
    """
    return _product(probabilities)[0]


def attended_values(probabilities: ir.Value) -> ir.Value | None:
    """Return the values V that attention probabilities are multiplied by."""
    product, copies = _product(probabilities)
    factors = [] if product is None else [v for v in product.inputs if v not in copies]
    return factors[0] if len(factors) == 1 else None


def _product(probabilities: ir.Value) -> tuple[ir.Node | None, set[ir.Value]]:
    """The product that probabilities enter, and the values on the way to it."""
    pending, visited = [probabilities], {probabilities}
    while pending:
        for node in pending.pop(0).consumers():
            if node.op_type in ("MatMul", "Einsum", "Gemm"):
                return node, visited
            output = node.outputs[0]
            if node.op_type in _BEFORE_PRODUCT and output not in visited:
                visited.add(output)
                pending.append(output)
    return None, visited


def _has_learned_queries(softmax: ir.Node, of_image: set[ir.Value]) -> bool:
    """Whether the queries of an attention do not depend on the image."""
    factors = queries_and_keys(softmax) if softmax.op_type == "Softmax" else []
    return bool(factors) and factors[0] not in of_image


def _normalizes_last_axis(node: ir.Node) -> bool:
    rank = len(dims_of(node.outputs[0]) or ())
    return node.op_type == "Softmax" and node.attributes.get_int("axis", -1) in (-1, rank - 1)
