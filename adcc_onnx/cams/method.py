"""The interface of CAM methods: what they read from the model, and the maps that they return.

A method never runs a model, normalizes, upsamples or scores. It reads a `MethodContext` and returns
one raw map per image. ReLU belongs to the method, since some methods have none; min-max
normalization and upsampling are applied to the maps of all methods alike.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.token_grid import TokenGrid
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array

if TYPE_CHECKING:
    from adcc_onnx.graph.autodiff.builder import Tensor
    from adcc_onnx.kernels.gradient_maps import GradientFormula


# The family of methods that do not depend on the model.
CONTROL_FAMILY = "control"


class Need(enum.Enum):
    """What a method reads from the model; only declared needs are computed.

    LINEAR_HEAD is no value: a method that declares it explains only models that have such a head.
    """

    ACTIVATIONS = "activations"
    GRADIENTS = "gradients"
    NOISY_GRADIENTS = "gradients of noisy copies"
    MASKED_SCORES = "scores of masked images"
    BLENDED_SCORES = "scores of images masked over a baseline"
    SUFFIX_SCORES = "scores behind a masked layer"
    IMAGE_GRADIENT = "the gradient of the image"
    IMAGE_GRADIENTS = "gradients of other images"
    SHARE_GRADIENTS = "gradients of shares of the channels"
    MIXED_GRADIENTS = "gradients of weighted sums of the logits"
    ATTENTIONS = "attention probabilities"
    ATTENTION_GRADIENTS = "gradients of attention probabilities"
    BLOCK_TOKENS = "tokens between the blocks of a transformer, and their gradients"
    BLOCK_SCORE_GRADIENTS = "gradients of the scores of each block of a transformer"
    TOKEN_TRANSFORMS = "tokens before and behind the value and output projections of each attention"
    HESSIAN_PRODUCT = "products of second derivatives with the activations"
    FULL_GRADIENT = "contributions of the image and of all biases to a score"
    LINEAR_HEAD = "a linear layer directly behind global average pooling"


class MethodContext(Protocol):
    """What a method may read of the model for one batch; each value is computed on first use.

    The batch has N images of C input channels, H x W; the explained layer has K channels, h x w.
    """

    @property
    def images(self) -> Float32Array:
        """The preprocessed input tensors x, [N, C, H, W]."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """The explained class c of each image, [N]."""

    @property
    def logits(self) -> Float32Array:
        """The logits of all classes, [N, classes]."""

    @property
    def activations(self) -> Float32Array:
        """The layer's values A, [N, K, h, w]."""

    @property
    def tokens(self) -> bool:
        """Whether the layer holds the tokens of a transformer."""

    @property
    def gradients(self) -> Float32Array:
        """The gradients g = d y_c / d A of the explained class's logit y_c, [N, K, h, w]."""

    @property
    def attentions(self) -> Sequence[Float32Array]:
        """The attention probabilities of each block, first to last, [N, heads, tokens, tokens].

        Every row, that of a query token, sums to 1.
        """

    @property
    def attention_gradients(self) -> Sequence[Float32Array]:
        """The gradients of y_c with respect to `attentions`, of the same shapes."""

    @property
    def block_tokens(self) -> Sequence[Float32Array]:
        """The tokens that enter each block, and at last those that leave the last one.

        [N, tokens, channels] each.
        """

    @property
    def block_gradients(self) -> Sequence[Float32Array]:
        """The gradients of y_c with respect to `block_tokens`, of the same shapes."""

    @property
    def block_score_gradients(self) -> Sequence[Float32Array]:
        """The gradients of y_c^l with respect to `attentions`, of the same shapes.

        y_c^l is the logit that the head of the model gives for the mean of the tokens that leave
        block l.
        """

    @property
    def token_transforms(self) -> Sequence[tuple[Float32Array, Float32Array]]:
        """The tokens E that enter the attention of each block, and the transformed tokens E~.

        E is the input of the value projection, and E~ = E W_V W_O what the value and output
        projections, with their biases, make of each token alone. [N, tokens, channels] each.
        """

    @property
    def token_grid(self) -> TokenGrid:
        """Where the tokens are in the image, and which of them the scores read."""

    @property
    def hessian_product(self) -> Float32Array:
        """The product of the Hessian d^2 y_c / dA^2 with A, [N, K, h, w].

        It is 0 where the logit is linear in A, as behind global average pooling.
        """

    def gradient_map(self, method: GradientMapMethod) -> Float32Array:
        """The method's raw maps, [N, h, w], computed together with those of similar methods."""

    def noisy_gradients(self, copies: int, sigma: float) -> Iterable[Float32Array]:
        """The gradients g on noisy copies of the images, `copies` arrays [N, K, h, w], one by one.

        The noise is normal with standard deviation sigma * (max x - min x) of each original image
        x. It is the same on every call for one image, also if the image is masked.
        """

    def mixed_gradients(self, weights: Float32Array) -> Float32Array:
        """The gradients d (sum_k v_k y_k) / d A of a weighted sum of the logits, [N, K, h, w].

        Args:
            weights: The weights v of the logits of each image, [N, classes].
        """

    def masked_scores(
        self, image: int, masks: Float32Array, baseline: Float32Array | None = None
    ) -> Float32Array:
        """Logits of one image multiplied by masks, which are upsampled bilinearly to H x W.

        Args:
            image: Index of the image in the batch.
            masks: The masks, [M, h, w].
            baseline: An image [C, H, W] that is added with the weight 1 - mask (needs
                BLENDED_SCORES).

        Returns:
            [M, classes].
        """

    def blank_scores(self) -> Float32Array:
        """Logits of the zero image, in which every pixel is masked, [classes]."""

    def suffix_scores(self, image: int, masks: Float32Array) -> Float32Array:
        """Logits of one image whose A is multiplied by each mask, [M, classes].

        Only the part of the model after the layer runs M times.

        Args:
            image: Index of the image in the batch.
            masks: The masks, [M, K or 1, h or 1, w or 1].
        """

    @property
    def full_gradient(self) -> Float32Array:
        """The sizes of the contributions of the image and of all biases to y_c, [N, H, W].

        The contributions of each feature map are rescaled to [0, 1], summed over its channels and
        upsampled.
        """

    @property
    def image_gradient(self) -> Float32Array:
        """The gradient d y_c / d x at the explained images, [N, C, H, W]."""

    def image_gradients(self, images: Float32Array) -> Float32Array:
        """The gradient d y_c / d x at other images than the explained ones, [N, C, H, W]."""

    def share_gradients(self, shares: Float32Array) -> tuple[Float32Array, Float32Array]:
        """The class score as a function of shares u of the channels, and its gradient.

        The image is multiplied by up(minmax(sum_k softmax(u)_k ReLU(A_k))).

        Args:
            shares: The shares u, [N, K].

        Returns:
            Logits [N, classes] and d y_c / d u, [N, K].
        """

    def probability(self, image: int, logits: Float32Array) -> NDArray[np.float64]:
        """The probability p of the image's explained class for logits [M, classes]: [M]."""

    def rngs(self, resample: bool = False) -> list[np.random.Generator]:
        """A random generator per image, independent of the batch, the order and the process.

        Args:
            resample: Whether the pass on the explanation map draws other numbers than the pass on
                the image; by default it repeats them.
        """

    def note(self, image: int, text: str) -> None:
        """Attach a remark for the user to the map of one image."""

    def noise(self, copies: int, sigma: float) -> Iterable[Float32Array]:
        """Noise for the images, `copies` arrays [N, C, H, W], as in `noisy_gradients`."""


class Method(ABC):
    """Base class of CAM methods; the arguments of the constructor are the method's options.

    Attributes:
        name: Name in requests and in results.
        title: Name as the method's authors write it; `name` is shown without it.
        family: Family in lists of methods: activation, attention, control, gradient,
            optimization, perturbation, pixel, score or custom.
        summary: One line for lists of methods.
        cost: Model passes per map, in words.
        needs: Everything that `raw_maps` reads from its context.

    Example:
        >>> import numpy as np
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> class Activity(Method):
        ...     name, family, summary = "activity", "custom", "mean activation"
        ...     needs = frozenset({Need.ACTIVATIONS})
        ...     def raw_maps(self, context):
        ...         return context.activations.mean(axis=1)
        >>> context = ArrayContext(activations=np.full((1, 3, 1, 2), 0.5, np.float32))
        >>> Activity().raw_maps(context)
        array([[[0.5, 0.5]]], dtype=float32)
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    family: ClassVar[str]
    summary: ClassVar[str]
    cost: ClassVar[str] = ""
    needs: ClassVar[frozenset[Need]]

    @abstractmethod
    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The maps before min-max normalization, [N, h, w] or [N, H, W].

        NaN and infinite values of the context must remain in the map: they mark a failed image.
        """

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """The same maps [N, h, w] as nodes of a graph, so that `bake` can put them into a model.

        Args:
            activations: The layer's values A, [N, K, h, w].
            gradients: The gradients g, [N, K, h, w], if the method needs them.

        Raises:
            OptionError: The method needs other values, or more than one pass through the model.
        """
        raise OptionError(
            f"{self.name} cannot be baked into a model: it needs more than the activations and "
            "gradients of one layer in one pass; choose another method, such as gradcam or layercam"
        )


class ChannelSum(Method):
    """A method of the form ReLU(sum_k w_k A_k), which defines the weights as graph nodes."""

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """ReLU(sum_k w_k A_k) as nodes of a graph, [N, h, w]."""
        weighted = activations * self.graph_weights(activations, gradients)
        return weighted.sum([1], keepdims=False).op("Relu")

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """The weights as nodes of a graph, [N, K, 1, 1], or [N, K, h, w] for one per location."""
        return super().graph_maps(activations, gradients)


class WeightedMethod(ChannelSum):
    """A method of the form ReLU(sum_k w_k A_k), which defines the weights as arrays."""

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """ReLU(sum_k w_k A_k), [N, h, w]."""
        from adcc_onnx.kernels.gradient_maps import weighted_sum

        return weighted_sum(context.activations, self.weights(context))

    @abstractmethod
    def weights(self, context: MethodContext) -> Float32Array:
        """One weight per channel, [N, K]."""


class GradientMapMethod(ChannelSum):
    """A method of A and g alone; the maps of all such methods are made in one read of the two.

    Attributes:
        formula: The kernel's formula; `graph_weights` writes the same formula as graph nodes.
    """

    formula: ClassVar[GradientFormula]
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The map of the formula, [N, h, w]."""
        return context.gradient_map(self)


def check_noise(name: str, n: int, sigma: float) -> None:
    """Check the options of a method that averages over noisy copies.

    Args:
        name: The method's name for the message.
        n: Number of copies, at least 1.
        sigma: Standard deviation of the noise, at least 0 and finite.

    Raises:
        OptionError: An option is out of its range.
    """
    if n < 1:
        raise OptionError(f"{name}: n must be at least 1, not {n}")
    if not (sigma >= 0 and math.isfinite(sigma)):
        raise OptionError(f"{name}: sigma must be at least 0, not {sigma}")
