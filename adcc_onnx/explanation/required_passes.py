"""Which passes through the model provide what methods need."""

from __future__ import annotations

from contextlib import suppress

from adcc_onnx.cams.method import Need
from adcc_onnx.errors import AdccError
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import Pass

# The passes that methods run themselves, in addition to the run of the whole batch.
OWN_PASSES = {
    Need.MASKED_SCORES: Pass.MASKED,
    Need.BLENDED_SCORES: Pass.BLENDED,
    Need.SUFFIX_SCORES: Pass.SUFFIX,
    Need.IMAGE_GRADIENT: Pass.IMAGE_GRADIENTS,
    Need.IMAGE_GRADIENTS: Pass.IMAGE_GRADIENTS,
    Need.SHARE_GRADIENTS: Pass.SHARE_GRADIENTS,
    Need.MIXED_GRADIENTS: Pass.MIXED_GRADIENTS,
    Need.HESSIAN_PRODUCT: Pass.HESSIAN_PRODUCTS,
    Need.FULL_GRADIENT: Pass.FULL_GRADIENT,
    Need.BLOCK_SCORE_GRADIENTS: Pass.BLOCK_SCORE_GRADIENTS,
}


def pass_for(needs: frozenset[Need]) -> Pass:
    """Return the cheapest pass on a batch that provides what methods need.

    Args:
        needs: The needs of all methods that share the run.

    Returns:
        The kind of pass. Some needs have passes of their own, which are not part of it.

    Example:
        >>> pass_for(frozenset({Need.ACTIVATIONS})).name
        'ACTIVATIONS'
    """
    differentiated = needs & {Need.GRADIENTS, Need.NOISY_GRADIENTS}
    if Need.TOKEN_TRANSFORMS in needs:
        return Pass.TOKEN_TRANSFORMS
    if needs & {Need.ATTENTION_GRADIENTS, Need.BLOCK_TOKENS}:
        return Pass.ATTENTION_GRADIENTS
    if Need.ATTENTIONS in needs:
        return Pass.ATTENTION_GRADIENTS if differentiated else Pass.ATTENTIONS
    if differentiated:
        return Pass.GRADIENTS
    if Need.ACTIVATIONS in needs:
        return Pass.ACTIVATIONS
    return Pass.IMAGE_GRADIENTS if Need.IMAGE_GRADIENT in needs else Pass.FORWARD


def has_own_passes(needs: frozenset[Need]) -> bool:
    """Return whether a method may run passes of its own, in addition to the run of the whole batch.

    Args:
        needs: The needs of the method.

    Example:
        >>> has_own_passes(frozenset({Need.GRADIENTS})), has_own_passes(frozenset(OWN_PASSES))
        (False, True)
    """
    return bool(needs & {*OWN_PASSES, Need.NOISY_GRADIENTS})


def open_sessions(model: Model, needs: frozenset[Need], masked: bool = False) -> None:
    """Open the sessions that provide what methods need, so that later runs do not wait for them.

    Args:
        model: The classifier.
        needs: The needs of all methods that share a run.
        masked: Whether the model multiplies its images by masks in that run.

    Raises:
        ModelError: The session of the shared run cannot be opened. A session of one method that
            cannot be opened raises its error when the method uses it.
    """
    pool = model.pool
    pool.session(pass_for(needs), masked=masked)
    for kind in dict.fromkeys(OWN_PASSES[need] for need in needs & OWN_PASSES.keys()):
        for layer in range(len(model.layers)):
            with suppress(AdccError):
                if kind is Pass.SUFFIX:
                    pool.split_session(layer)
                else:
                    pool.session(kind, layer)
