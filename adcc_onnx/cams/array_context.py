"""A method's context made of arrays and functions, to try a method without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import GradientMapMethod
from adcc_onnx.cams.token_grid import TokenGrid
from adcc_onnx.kernels.arrays import Float32Array, Float64Array

Function = Callable[[Float32Array], Float32Array]


def _not_given(values: Float32Array) -> Float32Array:
    raise ValueError("a method reads a function that ArrayContext was not given")


_NOTHING = np.zeros((0, 0, 0, 0), np.float32)


@dataclass
class ArrayContext:
    """A `MethodContext` of given values, for examples and for tests of your own methods.

    Attributes:
        images: The input tensors x, [N, C, H, W].
        activations: The layer's values A, [N, K, h, w].
        gradients: The gradients g, [N, K, h, w].
        hessian_product: The product of the Hessian with A, [N, K, h, w].
        full_gradient: The contributions of the image and of all biases, [N, H, W].
        score: Logits [M, classes] of images [M, C, H, W].
        suffix: Logits [M, classes] of layer values [M, K, h, w].
        layer_gradient: The gradient g [N, K, h, w] at images [N, C, H, W].
        input_gradient: The gradient d y_c / d x at images [N, C, H, W], of the same shape.
        share_gradient: The gradient [N, K] of the score in the shares [N, K] of the channels.
        mixed_gradient: The gradient [N, K, h, w] of a sum of logits with weights [N, classes].
        logits: The logits of the images, [N, classes].
        attentions: The attention probabilities of each block, [N, heads, tokens, tokens].
        attention_gradients: The gradients of the attention probabilities.
        block_tokens: The tokens between the blocks, [N, tokens, channels].
        block_gradients: The gradients of the tokens between the blocks.
        block_score_gradients: The gradients of the scores of each block in its attention.
        token_transforms: The tokens before and behind the projections of each attention.
        token_grid: The tokens' places.
        classes: The explained class of each image, [N]; class 0 if it is None.
        tokens: Whether the layer holds tokens.
        notes: The remarks of the method by image index.

    Example:
        >>> from adcc_onnx.cams.gradient_cams import HiResCAM
        >>> a = np.array([[[[1, 0], [0, 0]], [[0, 0], [0, 2]]]], np.float32)
        >>> context = ArrayContext(activations=a, gradients=np.full_like(a, 0.5))
        >>> HiResCAM().raw_maps(context)
        array([[[0.5, 0. ],
                [0. , 1. ]]], dtype=float32)
    """

    images: Float32Array = field(default_factory=lambda: _NOTHING)
    activations: Float32Array = field(default_factory=lambda: _NOTHING)
    gradients: Float32Array = field(default_factory=lambda: _NOTHING)
    hessian_product: Float32Array = field(default_factory=lambda: _NOTHING)
    full_gradient: Float32Array = field(default_factory=lambda: _NOTHING.reshape(0, 0, 0))
    score: Function = _not_given
    suffix: Function = _not_given
    layer_gradient: Function = _not_given
    input_gradient: Function = _not_given
    share_gradient: Function = _not_given
    mixed_gradient: Function = _not_given
    logits: Float32Array = field(default_factory=lambda: _NOTHING.reshape(0, 0))
    attentions: Sequence[Float32Array] = ()
    attention_gradients: Sequence[Float32Array] = ()
    block_tokens: Sequence[Float32Array] = ()
    block_gradients: Sequence[Float32Array] = ()
    block_score_gradients: Sequence[Float32Array] = ()
    token_transforms: Sequence[tuple[Float32Array, Float32Array]] = ()
    token_grid: TokenGrid = field(default_factory=lambda: TokenGrid((1, 1)))
    classes: NDArray[np.int64] | None = None
    tokens: bool = False
    notes: dict[int, str] = field(default_factory=dict)

    @property
    def targets(self) -> NDArray[np.int64]:
        """The explained class of each image, [N]."""
        count = max(len(self.images), len(self.activations))
        return np.zeros(count, np.int64) if self.classes is None else self.classes

    def gradient_map(self, method: GradientMapMethod) -> Float32Array:
        """The method's raw maps, [N, h, w]."""
        from adcc_onnx.kernels.gradient_maps import gradient_maps

        return gradient_maps(self.activations, self.gradients, [method.formula])[method.formula]

    def noisy_gradients(self, copies: int, sigma: float) -> Iterator[Float32Array]:
        """The gradients g on noisy copies of the images, [N, K, h, w] each."""
        for noise in self.noise(copies, sigma):
            yield self.layer_gradient(self.images + noise)

    def mixed_gradients(self, weights: Float32Array) -> Float32Array:
        """The gradient of the logits' sum with weights [N, classes], [N, K, h, w]."""
        return self.mixed_gradient(weights)

    def masked_scores(
        self, image: int, masks: Float32Array, baseline: Float32Array | None = None
    ) -> Float32Array:
        """Logits of one image behind masks [M, h, w], over a baseline if one is given."""
        from adcc_onnx.kernels.upsample import upsample

        shares = upsample(masks, self.images.shape[2:])[:, None]
        masked = self.images[image] * shares
        return self.score(masked if baseline is None else masked + baseline * (1 - shares))

    def blank_scores(self) -> Float32Array:
        """Logits of the zero image, [classes]."""
        blank: Float32Array = self.score(np.zeros_like(self.images[:1]))[0]
        return blank

    def suffix_scores(self, image: int, masks: Float32Array) -> Float32Array:
        """Logits of one image with its A multiplied by each mask, [M, classes]."""
        return self.suffix(self.activations[image] * masks)

    @property
    def image_gradient(self) -> Float32Array:
        """The gradient d y_c / d x at the images, [N, C, H, W]."""
        return self.input_gradient(self.images)

    def image_gradients(self, images: Float32Array) -> Float32Array:
        """The gradient d y_c / d x at other images, [N, C, H, W]."""
        return self.input_gradient(images)

    def share_gradients(self, shares: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Logits (zeros here) and the gradient [N, K] of the score in the shares [N, K]."""
        return np.zeros((len(shares), 1), np.float32), self.share_gradient(shares)

    def probability(self, image: int, logits: Float32Array) -> Float64Array:
        """The softmax probability of the image's explained class, [M]."""
        powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
        shares: Float64Array = powers[:, self.targets[image]] / powers.sum(axis=1)
        return shares

    def rngs(self, resample: bool = False) -> list[np.random.Generator]:
        """A random generator per image, seeded by its index; `resample` has no effect."""
        return [np.random.default_rng(i) for i in range(len(self.targets))]

    def note(self, image: int, text: str) -> None:
        """Keep a remark of the method."""
        self.notes[image] = text

    def noise(self, copies: int, sigma: float) -> Iterator[Float32Array]:
        """Normal noise, `copies` arrays [N, C, H, W], scaled by each image's range."""
        sources = self.rngs()
        spread = np.ptp(self.images.reshape(len(self.images), -1), axis=1)
        scale = (sigma * spread).astype(np.float32)[:, None, None, None]
        for _ in range(copies):
            drawn = [rng.standard_normal(self.images.shape[1:], np.float32) for rng in sources]
            yield scale * np.stack(drawn)
