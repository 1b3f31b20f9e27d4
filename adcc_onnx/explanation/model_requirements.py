"""Which parts a model must have for the needs of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adcc_onnx.cams.method import Need
from adcc_onnx.errors import ModelError
from adcc_onnx.graph.classifier.attentions import require_self_attentions, with_open_attentions
from adcc_onnx.graph.classifier.linear_head import require_linear_head
from adcc_onnx.graph.classifier.token_stream import block_tokens
from adcc_onnx.graph.classifier.value_projections import require_value_projections
from adcc_onnx.graph.programs.full_gradient import require_biases
from adcc_onnx.model import Model


def missing_part(model: Model, needs: frozenset[Need]) -> ModelError | None:
    """Return why a model lacks a part that a method needs; None if it has all of them.

    Args:
        model: The model.
        needs: The needs of the method.
    """
    try:
        for check in dict.fromkeys(check for need, check in _CHECKS.items() if need in needs):
            check(model)
    except ModelError as error:
        return error
    return None


def _check_head(model: Model) -> None:
    for layer in model.layers:
        require_linear_head(model.classifier, layer)


def _check_attentions(model: Model) -> None:
    require_self_attentions(with_open_attentions(model.classifier))


def _check_blocks(model: Model) -> None:
    classifier = with_open_attentions(model.classifier)
    block_tokens(classifier, require_self_attentions(classifier))


def _check_projections(model: Model) -> None:
    require_value_projections(with_open_attentions(model.classifier))


# Each raises a ModelError if the model lacks the part.
_CHECKS: Mapping[Need, Callable[[Model], None]] = {
    Need.LINEAR_HEAD: _check_head,
    Need.FULL_GRADIENT: lambda model: require_biases(model.classifier),
    Need.ATTENTIONS: _check_attentions,
    Need.ATTENTION_GRADIENTS: _check_attentions,
    Need.BLOCK_TOKENS: _check_blocks,
    Need.BLOCK_SCORE_GRADIENTS: _check_blocks,
    Need.TOKEN_TRANSFORMS: _check_projections,
}
