"""Find the tokens between the blocks of a transformer: everything that a block passes on."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.attentions import SelfAttention
from adcc_onnx.graph.classifier.image_classifier import Classifier


def block_tokens(classifier: Classifier, attentions: list[SelfAttention]) -> list[ir.Value]:
    """Return the tokens that enter each block, and those that leave the last one.

    Args:
        classifier: The classifier.
        attentions: The L attentions of the model, one per block.

    Returns:
        L + 1 values [batch, tokens, channels]: the last values before each attention through which
        everything between the image and the scores passes, and the corresponding value behind the
        last attention.

    Raises:
        ModelError: The blocks are connected in another way.
    """
    order = {node: place for place, node in enumerate(classifier.forward_nodes())}
    cuts = [v for v in _cut_values(classifier) if is_token_stream(v, attentions[0].tokens)]
    places = [order[node] for v in cuts if (node := v.producer()) is not None]
    entering: list[int] = []
    for attention in attentions:
        place = order[_producer(attention.probabilities)]
        before = [index for index, at in enumerate(places) if at < place]
        if not before or before[-1] in entering:
            raise _refused()
        entering.append(before[-1])
    # Every block passes on as many such values as the others.
    steps = entering[-1] - entering[-2] if len(entering) > 1 else _last_sum(cuts) - entering[-1]
    leaving = entering[-1] + steps
    if not entering[-1] < leaving < len(cuts):
        raise _refused()
    return [*(cuts[index] for index in entering), cuts[leaving]]


def _cut_values(classifier: Classifier) -> list[ir.Value]:
    """The values that lie on every path from the image to the logits, in order."""
    nodes = classifier.forward_nodes()
    on_path = set(nodes)
    uses = {
        value: sum(consumer in on_path for consumer in value.consumers())
        for value in [classifier.image, *(v for node in nodes for v in node.outputs)]
    }
    open_values = {classifier.image}
    cuts: list[ir.Value] = []
    for node in nodes:
        for value in set(node.inputs) & open_values:
            if value is not None:
                uses[value] -= 1
                if not uses[value]:
                    open_values.discard(value)
        open_values |= {value for value in node.outputs if uses[value]}
        if len(open_values) == 1:
            cuts.extend(open_values)
    return cuts


def is_token_stream(value: ir.Value, tokens: int) -> bool:
    """Whether a value holds all tokens, [batch, tokens, channels].

    Args:
        value: The value.
        tokens: The number of tokens.
    """
    dims = dims_of(value) or ()
    return len(dims) == 3 and dims[1] == tokens and isinstance(dims[2], int)


def _last_sum(cuts: list[ir.Value]) -> int:
    sums = [index for index, value in enumerate(cuts) if _producer(value).op_type == "Add"]
    return sums[-1] if sums else 0


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node


def _refused() -> ModelError:
    return ModelError(
        "the method needs blocks of one attention each that pass nothing but their tokens to the "
        "next block; the blocks of the model are connected in another way; the methods rollout and "
        "chefer need only the attentions"
    )
