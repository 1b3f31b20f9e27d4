"""What a CAM method is: what it needs to see, and how it turns that into a map.

A method never runs a model, normalizes, upsamples or scores; it reads `Evidence` and returns one
raw map an image. ReLU belongs to the method (some have none); min-max and upsampling do not.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array

if TYPE_CHECKING:
    from adcc_onnx.graph.autodiff.builder import Tensor
    from adcc_onnx.kernels.gradient_maps import GradientFormula


class Need(enum.Enum):
    """What a method must be shown; the planner exposes only that."""

    ACTIVATIONS = "activations"
    GRADIENTS = "gradients"
    NOISY_GRADIENTS = "gradients of noisy copies"
    MASKED_SCORES = "scores of masked images"
    BLENDED_SCORES = "scores of images masked over a baseline"
    SUFFIX_SCORES = "scores behind a masked layer"
    IMAGE_GRADIENT = "the gradient of the image"
    IMAGE_GRADIENTS = "gradients of other images"
    SHARE_GRADIENTS = "gradients of shares of the channels"


class MethodContext(Protocol):
    """What the model shows of one batch of images; every attribute is computed on first use.

    N images, C input channels of H x W, K channels of the layer at h x w, `classes` scores.
    """

    @property
    def images(self) -> Float32Array:
        """The normalized input tensors, [N, C, H, W]."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """The explained class of each image, [N]."""

    @property
    def activations(self) -> Float32Array:
        """A: the layer's values, [N, K, h, w]."""

    @property
    def tokens(self) -> bool:
        """Whether the layer's values are tokens, as in transformers."""

    @property
    def gradients(self) -> Float32Array:
        """g = d y_c / d A, y_c the logit of the explained class, [N, K, h, w]."""

    def gradient_map(self, method: GradientMapMethod) -> Float32Array:
        """The method's raw maps [N, h, w], made of A and g with those of all like methods."""

    def noisy_gradients(self, copies: int, sigma: float) -> Iterable[Float32Array]:
        """g on `copies` noisy copies of the images: `copies` arrays [N, K, h, w], one by one.

        The noise is normal with standard deviation sigma * (max x - min x) of each *clean* image
        x, and the same on every call for one image, also where the image is masked.
        """

    def masked_scores(
        self, image: int, masks: Float32Array, baseline: Float32Array | None = None
    ) -> Float32Array:
        """Logits [M, classes] of image number `image` behind each mask, `masks` [M, h, w].

        The model upsamples the masks bilinearly to H x W, and multiplies the image by them; with a
        `baseline` [C, H, W] (BLENDED_SCORES), it adds baseline x (1 - mask).
        """

    def blank_scores(self) -> Float32Array:
        """Logits [classes] of the zero image (every pixel masked away)."""

    def suffix_scores(self, image: int, masks: Float32Array) -> Float32Array:
        """Logits [M, classes] of image number `image` with its A times each mask.

        `masks` is [M, K or 1, h or 1, w or 1]; only what follows the layer is run M times.
        """

    @property
    def image_gradient(self) -> Float32Array:
        """d y_c / d x at the explained images, [N, C, H, W]."""

    def image_gradients(self, images: Float32Array) -> Float32Array:
        """d y_c / d x at other images [N, C, H, W] than the explained ones, of the same shape."""

    def share_gradients(self, shares: Float32Array) -> tuple[Float32Array, Float32Array]:
        """(logits [N, classes], d y_c / d u [N, K]) for shares u [N, K] of the channels.

        The image is seen through up(minmax(sum_k softmax(u)_k ReLU(A_k))).
        """

    def probability(self, image: int, logits: Float32Array) -> NDArray[np.float64]:
        """p of the explained class of image number `image`, for logits [M, classes]: [M]."""

    def rngs(self, resample: bool = False) -> list[np.random.Generator]:
        """A source of random numbers an image, the same whatever the batch, order or process.

        The pass on the explanation map repeats the numbers of the pass on the image, unless
        `resample` is true.
        """

    def note(self, image: int, text: str) -> None:
        """Something to tell the user about the map of image number `image`."""

    def noise(self, copies: int, sigma: float) -> Iterable[Float32Array]:
        """Noise for the images, `copies` arrays [N, C, H, W], as in `noisy_gradients`."""


class Method(ABC):
    """A class activation mapping method; its options are the arguments of its constructor.

    Attributes:
        name: as asked for and stored.
        family: activation, control, gradient, optimization, perturbation, pixel, score or custom.
        summary: one line for a list of methods.
        cost: what one map costs, in passes of the model an image.
        needs: what `raw_maps` reads of the evidence.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    summary: ClassVar[str]
    cost: ClassVar[str] = ""
    needs: ClassVar[frozenset[Need]]

    @abstractmethod
    def raw_maps(self, context: MethodContext) -> Float32Array:
        """The maps before min-max normalization, [N, h, w] (or already [N, H, W]).

        What is NaN or infinite in the evidence must stay so in the map: it marks a failed image.
        """

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """The same maps [N, h, w] as nodes of a graph, so that a model can hold them (`bake`).

        Args:
            activations: A, [N, K, h, w].
            gradients: g, of the same shape, where the method needs them.

        Raises:
            OptionError: the method takes more than one pass through the model.
        """
        raise OptionError(
            f"{self.name} cannot be baked into a model: it takes more than one forward and one "
            "backward pass"
        )


class ChannelSum(Method):
    """A method of the form ReLU(sum_k w_k A_k): as nodes of a graph it gives the weights alone."""

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        weighted = activations * self.graph_weights(activations, gradients)
        return weighted.sum([1], keepdims=False).op("Relu")

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """The weights as nodes of a graph, [N, K, 1, 1] (or one a place, [N, K, h, w])."""
        return super().graph_maps(activations, gradients)


class WeightedMethod(ChannelSum):
    """A method of the form ReLU(sum_k w_k A_k): it gives the weights alone."""

    def raw_maps(self, context: MethodContext) -> Float32Array:
        from adcc_onnx.kernels.gradient_maps import weighted_sum

        return weighted_sum(context.activations, self.weights(context))

    @abstractmethod
    def weights(self, context: MethodContext) -> Float32Array:
        """One weight a channel, [N, K]."""


class GradientMapMethod(ChannelSum):
    """A method of A and g alone, made with all others of its kind in one read of the two.

    Attributes:
        assembly: the formula that the kernel knows; `graph_weights` gives the same as a graph.
    """

    formula: ClassVar[GradientFormula]
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})

    def raw_maps(self, context: MethodContext) -> Float32Array:
        return context.gradient_map(self)
