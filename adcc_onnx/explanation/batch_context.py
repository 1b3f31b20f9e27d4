"""The `MethodContext` of one method on one batch of images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import GradientMapMethod, Need
from adcc_onnx.cams.token_grid import TokenGrid
from adcc_onnx.errors import OptionError
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.explanation.required_passes import OWN_PASSES
from adcc_onnx.explanation.run_outputs import RunOutputs
from adcc_onnx.graph.programs.tensor_names import (
    ACTIVATIONS,
    ATTENTION_GRADIENTS,
    ATTENTIONS,
    BASELINE,
    BLOCK_GRADIENTS,
    BLOCK_SCORE_GRADIENTS,
    BLOCK_TOKENS,
    CHANNEL_LOGITS,
    FULL_GRADIENT,
    GRADIENTS,
    HESSIAN_PRODUCTS,
    IMAGE,
    LOGIT_WEIGHTS,
    LOGITS,
    MASKS,
    TARGET,
    TRANSFORMED_TOKENS,
    UNTRANSFORMED_TOKENS,
    layer_output,
)
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.session import Arrays

_Value = TypeVar("_Value")


@dataclass
class MethodLog:
    """What one method reports about a batch, over all layers.

    Attributes:
        passes: The number of runs of the model on each image, int64 [N]; a forward run with its
            backward run counts as one.
        notes: The method's remarks by the image's index.
    """

    passes: NDArray[np.int64]
    notes: dict[int, str] = field(default_factory=dict)

    @classmethod
    def for_images(cls, count: int) -> MethodLog:
        """Return the log of a method that has only used the shared run.

        Args:
            count: The number of images N.
        """
        return cls(np.ones(count, np.int64))


class BatchContext:
    """What one method reads from the model; see `cams.method.MethodContext`.

    Args:
        outputs: The outputs of the run that all methods share.
        layer: The index of the explained layer.
        log: The log of the method; a new one if None.

    Attributes:
        log: The log of the method.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> from adcc_onnx.explanation.run_outputs import run_images
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> images = np.zeros((2, 3, 112, 112), np.float32)
        >>> outputs = run_images(model, images, None, frozenset({Need.ACTIVATIONS}), [0, 1])
        >>> BatchContext(outputs).activations.shape
        (2, 64, 14, 14)
    """

    def __init__(self, outputs: RunOutputs, layer: int = 0, log: MethodLog | None = None) -> None:
        self._outputs, self._layer = outputs, layer
        self._pool = outputs.model.pool
        self.log = MethodLog.for_images(len(outputs.seeds)) if log is None else log

    @property
    def images(self) -> Float32Array:
        """The normalized input tensors, [N, C, H, W]."""
        return self._outputs.input.array

    @property
    def targets(self) -> NDArray[np.int64]:
        """The explained class of each image, [N]."""
        return self._outputs.targets

    @property
    def logits(self) -> Float32Array:
        """The logits of all classes, [N, classes]."""
        return self._outputs.logits

    @property
    def activations(self) -> Float32Array:
        """The activations A of the layer, [N, K, h, w]."""
        return self._read(ACTIVATIONS, Need.ACTIVATIONS)

    @property
    def tokens(self) -> bool:
        """Whether the layer's values are tokens, as in transformers."""
        return self._outputs.model.layers[self._layer].kind in ("tokens", "attention")

    @property
    def gradients(self) -> Float32Array:
        """The gradients g of the target's logit with respect to A, [N, K, h, w]."""
        return self._read(GRADIENTS, Need.GRADIENTS)

    @property
    def attentions(self) -> list[Float32Array]:
        """The attention probabilities of each block, [N, heads, tokens, tokens]."""
        return self._read_blocks(ATTENTIONS, Need.ATTENTIONS)

    @property
    def attention_gradients(self) -> list[Float32Array]:
        """The gradients of the target's logit with respect to the attention probabilities."""
        return self._read_blocks(ATTENTION_GRADIENTS, Need.ATTENTION_GRADIENTS)

    @property
    def block_tokens(self) -> list[Float32Array]:
        """The tokens that enter each block and leave the last one, [N, tokens, channels]."""
        return self._read_blocks(BLOCK_TOKENS, Need.BLOCK_TOKENS)

    @property
    def block_gradients(self) -> list[Float32Array]:
        """The gradients of the target's logit with respect to the tokens between blocks."""
        return self._read_blocks(BLOCK_GRADIENTS, Need.BLOCK_TOKENS)

    @property
    def block_score_gradients(self) -> list[Float32Array]:
        """The gradients of the score of each block with respect to its attention."""
        return _numbered(self._run_targeted(Need.BLOCK_SCORE_GRADIENTS), BLOCK_SCORE_GRADIENTS)

    @property
    def token_transforms(self) -> list[tuple[Float32Array, Float32Array]]:
        """The tokens before and behind the projections of each attention."""
        before = self._read_blocks(UNTRANSFORMED_TOKENS, Need.TOKEN_TRANSFORMS)
        after = self._read_blocks(TRANSFORMED_TOKENS, Need.TOKEN_TRANSFORMS)
        return list(zip(before, after, strict=True))

    @property
    def token_grid(self) -> TokenGrid:
        """The places of the tokens, and which of them the scores read."""
        return self._outputs.model.token_grid

    @property
    def hessian_product(self) -> Float32Array:
        """The products of the Hessian of the target's logit with A, [N, K, h, w]."""
        outputs = self._run_targeted(Need.HESSIAN_PRODUCT)
        product: Float32Array = outputs[layer_output(HESSIAN_PRODUCTS, self._layer)]
        return product

    @property
    def full_gradient(self) -> Float32Array:
        """The contributions of the images and of all biases to the target's logit, [N, H, W]."""
        contributions: Float32Array = self._run_targeted(Need.FULL_GRADIENT)[FULL_GRADIENT]
        return contributions

    def gradient_map(self, method: GradientMapMethod) -> Float32Array:
        """Return a gradient method's raw maps, [N, h, w].

        Args:
            method: The method.
        """
        self._require_declared(Need.ACTIVATIONS)
        self._require_declared(Need.GRADIENTS)
        return self._outputs.gradient_maps.get(method, self._layer)

    def noisy_gradients(self, copies: int, sigma: float) -> Iterator[Float32Array]:
        """Iterate over the gradients g on noisy copies of the images, [N, K, h, w] each.

        Args:
            copies: The number of copies.
            sigma: The standard deviation of the noise, relative to the range of the image.
        """
        self._require_declared(Need.NOISY_GRADIENTS)
        for noise in self.noise(copies, sigma):
            self.log.passes += 1
            feeds = {IMAGE: self.images + noise, TARGET: self.targets}
            yield self._pool.session(Pass.GRADIENTS).run(feeds)[
                layer_output(GRADIENTS, self._layer)
            ]

    def noise(self, copies: int, sigma: float) -> Iterator[Float32Array]:
        """Iterate over arrays of noise, [N, C, H, W] each, scaled from the original images.

        Args:
            copies: The number of arrays.
            sigma: The standard deviation of the noise, relative to the range of the image.
        """
        original = self._outputs.images.array
        spread = np.ptp(original.reshape(len(original), -1), axis=1)
        scale = (sigma * spread).astype(np.float32)[:, None, None, None]
        sources = [np.random.default_rng(seed) for seed in self._outputs.seeds]
        for _ in range(copies):
            drawn = [rng.standard_normal(original.shape[1:], np.float32) for rng in sources]
            yield scale * np.stack(drawn)

    def note(self, image: int, text: str) -> None:
        """Record a remark for the user.

        Args:
            image: The index of the image.
            text: The remark.
        """
        self.log.notes[image] = text

    def rngs(self, resample: bool = False) -> list[np.random.Generator]:
        """Return a random generator per image, the same in any batch, order or process.

        Args:
            resample: Whether the run on explanation maps draws other numbers than the run on
                the images.
        """
        stream = int(resample and not self._outputs.on_original_images)
        return [np.random.default_rng([seed, stream]) for seed in self._outputs.seeds]

    def probability(self, image: int, logits: Float32Array) -> NDArray[np.float64]:
        """Return the probability of an image's target class, float64 [M].

        Args:
            image: The index of the image.
            logits: The class scores, [M, classes].
        """
        targets = np.full(len(logits), self.targets[image])
        return probabilities(logits, targets, self._outputs.model.classifier.scores_kind)

    def masked_scores(
        self, image: int, masks: Float32Array, baseline: Float32Array | None = None
    ) -> Float32Array:
        """Return the logits of one image under many masks, [M, classes].

        Args:
            image: The index of the image.
            masks: The masks, [M, h, w]; the model upsamples them.
            baseline: The image that shows where a mask is 0, [C, H, W]; zeros if None.
        """
        need = Need.MASKED_SCORES if baseline is None else Need.BLENDED_SCORES
        self._require_declared(need)
        self.log.passes[image] += len(masks)
        shared = {IMAGE: self.images[image : image + 1]}
        if baseline is not None:
            shared[BASELINE] = baseline[None]
        outputs = self._pool.session(OWN_PASSES[need]).run({MASKS: masks}, shared)
        logits: Float32Array = outputs[LOGITS]
        return logits

    def blank_scores(self) -> Float32Array:
        """Return the logits of the zero image, [classes]."""
        self._require_declared(Need.MASKED_SCORES)
        return self._pool.zero_image_logits

    def suffix_scores(self, image: int, masks: Float32Array) -> Float32Array:
        """Return the logits of one image with masks on its activations, [M, classes].

        Args:
            image: The index of the image.
            masks: The masks, [M, K or 1, h or 1, w or 1].
        """
        self._require_declared(Need.SUFFIX_SCORES)
        self.log.passes[image] += len(masks)
        session = self._pool.split_session(self._layer)
        known = self._outputs.values.get(layer_output(ACTIVATIONS, self._layer))
        is_nchw_float32 = self._outputs.model.layers[self._layer].is_nchw_float32
        if session.single_cut and is_nchw_float32 and known is not None:
            outputs = session.run_from({MASKS: masks}, known.array[image : image + 1])
        else:
            outputs = session.run({MASKS: masks}, {IMAGE: self.images[image : image + 1]})
        logits: Float32Array = outputs[LOGITS]
        return logits

    @property
    def image_gradient(self) -> Float32Array:
        """The gradients of the target's logit with respect to the images, [N, C, H, W]."""
        self._require_declared(Need.IMAGE_GRADIENT)
        if self._outputs.kind is Pass.IMAGE_GRADIENTS:
            gradients: Float32Array = self._outputs.values[GRADIENTS].array
            return gradients
        return self._run_image_gradients(self.images)

    def image_gradients(self, images: Float32Array) -> Float32Array:
        """Return the gradients of the target's logit with respect to other images.

        Args:
            images: The other images, [N, C, H, W].
        """
        self._require_declared(Need.IMAGE_GRADIENTS)
        return self._run_image_gradients(images)

    def share_gradients(self, shares: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Run the images under a mixture of their channels.

        Args:
            shares: The weights u of the channels before the softmax, [N, K].

        Returns:
            The logits, [N, classes], and the gradients of the target's logit with respect to u.
        """
        self._require_declared(Need.SHARE_GRADIENTS)
        self.log.passes += 1
        feeds: Arrays = {
            IMAGE: self.images,
            ACTIVATIONS: self.activations,
            CHANNEL_LOGITS: shares,
            TARGET: self.targets,
        }
        outputs = self._pool.session(Pass.SHARE_GRADIENTS, self._layer).run(feeds)
        return outputs[LOGITS], outputs[GRADIENTS]

    def mixed_gradients(self, weights: Float32Array) -> Float32Array:
        """Return the gradients of weighted sums of the logits with respect to A, [N, K, h, w].

        Args:
            weights: The weights of the logits, [N, classes].
        """
        self._require_declared(Need.MIXED_GRADIENTS)
        self.log.passes += 1
        feeds: Arrays = {IMAGE: self.images, LOGIT_WEIGHTS: weights}
        outputs = self._pool.session(Pass.MIXED_GRADIENTS).run(feeds)
        gradients: Float32Array = outputs[layer_output(GRADIENTS, self._layer)]
        return gradients

    def _run_targeted(self, need: Need) -> Arrays:
        """Run a pass of this method on its images and classes."""
        self._require_declared(need)
        self.log.passes += 1
        return self._pool.session(OWN_PASSES[need]).run({IMAGE: self.images, TARGET: self.targets})

    def _run_image_gradients(self, images: Float32Array) -> Float32Array:
        self.log.passes += 1
        session = self._pool.session(Pass.IMAGE_GRADIENTS)
        gradients: Float32Array = session.run({IMAGE: images, TARGET: self.targets})[GRADIENTS]
        return gradients

    def _read(self, output: str, need: Need) -> Float32Array:
        self._require_declared(need)
        values: Float32Array = self._outputs.values[layer_output(output, self._layer)].array
        return values

    def _read_blocks(self, output: str, need: Need) -> list[Float32Array]:
        self._require_declared(need)
        return [value.array for value in _numbered(self._outputs.values, output)]

    def _require_declared(self, need: Need) -> None:
        if need not in self._outputs.needs:
            raise OptionError(f"a method reads {need.value} without declaring it in its `needs`")


def _numbered(outputs: Mapping[str, _Value], name: str) -> list[_Value]:
    """Return the outputs of one name that exist once per block, in order."""
    names = (layer_output(name, index) for index in itertools.count())
    return [outputs[one] for one in itertools.takewhile(outputs.__contains__, names)]
