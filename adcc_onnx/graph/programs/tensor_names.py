"""The names of the inputs and outputs of all graphs that are built from a classifier."""

from __future__ import annotations

IMAGE, TARGET, LOGITS = "image", "target", "logits"
ACTIVATIONS, GRADIENTS = "activations", "gradients"
MASKS, BASELINE = "masks", "baseline"
CHANNEL_LOGITS = "channel_logits"
LOGIT_WEIGHTS = "logit_weights"
ATTENTIONS, ATTENTION_GRADIENTS = "attentions", "attention_gradients"
BLOCK_TOKENS, BLOCK_GRADIENTS = "block_tokens", "block_gradients"
BLOCK_SCORE_GRADIENTS = "block_score_gradients"
UNTRANSFORMED_TOKENS, TRANSFORMED_TOKENS = "untransformed_tokens", "transformed_tokens"
HESSIAN_PRODUCTS = "hessian_products"
FULL_GRADIENT = "full_gradient"
RANKS, COUNTS = "ranks", "counts"
HEATMAP = "heatmap"
MINIMA, MAXIMA, CHANNEL_MEANS = "minima", "maxima", "channel_means"

# Values of the model itself that have one of these names are renamed.
RESERVED = {
    IMAGE,
    TARGET,
    LOGITS,
    ACTIVATIONS,
    GRADIENTS,
    MASKS,
    BASELINE,
    CHANNEL_LOGITS,
    LOGIT_WEIGHTS,
    ATTENTIONS,
    ATTENTION_GRADIENTS,
    BLOCK_TOKENS,
    BLOCK_GRADIENTS,
    BLOCK_SCORE_GRADIENTS,
    UNTRANSFORMED_TOKENS,
    TRANSFORMED_TOKENS,
    HESSIAN_PRODUCTS,
    FULL_GRADIENT,
    RANKS,
    COUNTS,
    MINIMA,
    MAXIMA,
    CHANNEL_MEANS,
}
NAME_PREFIX = "adcc/"  # of all values that are added to a graph


def layer_output(name: str, layer: int) -> str:
    """Return the name of an output that exists once per layer, or once per block.

    Args:
        name: The name of the output for the first layer, such as "activations".
        layer: The number of the layer or block, from 0.

    Example:
        >>> layer_output("activations", 0), layer_output("activations", 1)
        ('activations', 'activations/1')
    """
    return f"{name}/{layer}" if layer else name
