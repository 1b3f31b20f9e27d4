"""CAMs that weight the layer's channels by gradients: Grad-CAM and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adcc_onnx.cams.method import (
    GradientMapMethod,
    MethodContext,
    Need,
    WeightedMethod,
    check_noise,
)
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.gradient_maps import (
    GradientFormula,
    GradientMoments,
    gradcam_weights,
    smoothgradcam_pp_weights,
)

if TYPE_CHECKING:
    from adcc_onnx.graph.autodiff.builder import Tensor


@dataclass(frozen=True)
class CAM(GradientMapMethod):
    """sum_k w_k A_k with w_k the weight of channel k in the linear layer behind global pooling.

    Since y_c = sum_k w_k mean_ij A_k, w_k = sum_ij g_k. There is no ReLU. Models with another head
    are refused.
    Zhou et al., CVPR 2016, https://arxiv.org/abs/1512.04150.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 2]]]], np.float32)
        >>> g = np.array([[[[2, 2]], [[-1, -1]]]], np.float32)  # w = (4, -2)
        >>> CAM().raw_maps(ArrayContext(activations=a, gradients=g))
        array([[[ 4., -4.]]], dtype=float32)
    """

    name = "cam"
    title = "CAM"
    family = "gradient"
    summary = "channels weighted by the linear layer behind global average pooling"
    cost = "1 with backward"
    formula = GradientFormula.CAM
    needs = GradientMapMethod.needs | {Need.LINEAR_HEAD}

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """Sum_k (sum_ij g_k) A_k as nodes of a graph, [N, h, w]."""
        assert gradients is not None
        return (activations * gradients.sum([2, 3])).sum([1], keepdims=False)


@dataclass(frozen=True)
class GradCAM(GradientMapMethod):
    """ReLU(sum_k w_k A_k) with w_k = mean_ij g_k.

    Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 2]]]], np.float32)  # two channels of 1 x 2
        >>> g = np.array([[[[3, 1]], [[-1, 2]]]], np.float32)  # w = (2, 0.5)
        >>> GradCAM().raw_maps(ArrayContext(activations=a, gradients=g))
        array([[[2., 1.]]], dtype=float32)
    """

    name = "gradcam"
    title = "Grad-CAM"
    family = "gradient"
    summary = "channels weighted by their mean gradient"
    cost = "1 with backward"
    formula = GradientFormula.GRADCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """Mean_ij g as a graph node, [N, K, 1, 1]."""
        assert gradients is not None
        return gradients.mean([2, 3])


@dataclass(frozen=True)
class GradCAMPP(GradientMapMethod):
    """ReLU(sum_k w_k A_k) with w_k = sum_ij alpha_k ReLU(g_k).

    alpha_k = g_k^2 / (2 g_k^2 + S_k g_k^3) with S_k = sum_ij A_k, and 0 where the denominator
    is 0; there is no epsilon. The powers of g stand for the derivatives of exp(y_c), whose common
    factor cancels.
    Chattopadhay et al., WACV 2018, https://arxiv.org/abs/1710.11063.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 2]]]], np.float32)
        >>> g = np.array([[[[2, 0]], [[-1, 1]]]], np.float32)  # w = (2 / (2 + 2), 1 / (2 + 2))
        >>> GradCAMPP().raw_maps(ArrayContext(activations=a, gradients=g))
        array([[[0.5, 0.5]]], dtype=float32)
    """

    name = "gradcam++"
    title = "Grad-CAM++"
    family = "gradient"
    summary = "channels weighted by their positive gradients, with a weight per location"
    cost = "1 with backward"
    formula = GradientFormula.GRADCAM_PP

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """Sum_ij alpha ReLU(g) as a graph node, [N, K, 1, 1]."""
        from adcc_onnx.graph.autodiff.builder import DOUBLE, FLOAT

        assert gradients is not None
        # g^2 / (2 g^2 + S g^3) = 1 / (2 + S g) where g is not 0; where g is 0, so is ReLU(g).
        # If A is signed, 2 + S g may almost vanish, and float32 would round S too coarsely.
        slopes = gradients.cast(DOUBLE)
        divisor = 2.0 + activations.cast(DOUBLE).sum([2, 3]) * slopes
        share = slopes.op("Relu") / divisor
        return divisor.equals(0.0).where(0.0, share).sum([2, 3]).cast(FLOAT)


@dataclass(frozen=True)
class SmoothGradCAMPP(WeightedMethod):
    """Grad-CAM++ whose g, g^2 and g^3 are averages over noisy copies of the image.

    A, and with it S_k, is that of the original image.
    Omeiza et al., 2019, https://arxiv.org/abs/1908.01224.

    Attributes:
        n: Number of noisy copies, at least 1. Each takes a forward and a backward pass.
        sigma: Standard deviation of the noise as a fraction of (max x - min x), at least 0.
            The demo of the ADCC paper's authors uses n=4, sigma=0.3.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 2]]]], np.float32)
        >>> g = np.array([[[[2, 0]], [[-1, 1]]]], np.float32)
        >>> images = np.ones((1, 3, 4, 8), np.float32)
        >>> context = ArrayContext(images, a, layer_gradient=lambda noisy: g)
        >>> SmoothGradCAMPP(n=4, sigma=0.3).raw_maps(context)  # the same g on each noisy copy
        array([[[0.5, 0.5]]], dtype=float32)
    """

    name = "smoothgradcam++"
    title = "Smooth Grad-CAM++"
    family = "gradient"
    summary = "Grad-CAM++ on gradients averaged over noisy copies of the image"
    cost = "1 + n with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.NOISY_GRADIENTS})

    n: int = 25
    sigma: float = 0.15

    def __post_init__(self) -> None:
        check_noise(self.name, self.n, self.sigma)

    def weights(self, context: MethodContext) -> Float32Array:
        """Grad-CAM++'s weights with averaged powers of g, [N, K]."""
        return smoothgradcam_pp_weights(context.activations, self._averages(context))

    def _averages(self, context: MethodContext) -> GradientMoments:
        first, second, third = (np.zeros(context.activations.shape) for _ in range(3))
        for gradients in context.noisy_gradients(self.n, self.sigma):
            power = gradients.astype(np.float64)
            first += power
            power *= gradients
            second += power
            power *= gradients
            third += power
        for total in (first, second, third):
            total /= self.n
        return first, second, third


@dataclass(frozen=True)
class XGradCAM(GradientMapMethod):
    """ReLU(sum_k w_k A_k) with w_k = sum_ij g_k A_k / sum_ij A_k, and 0 where the divisor is 0.

    Fu et al., BMVC 2020, https://arxiv.org/abs/2008.02312.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 3]], [[0, 0]]]], np.float32)
        >>> g = np.array([[[[2, -2]], [[5, 5]]]], np.float32)  # w = ((2 - 6) / 4, 0)
        >>> XGradCAM().raw_maps(ArrayContext(activations=a, gradients=-g))
        array([[[1., 3.]]], dtype=float32)
    """

    name = "xgradcam"
    title = "XGrad-CAM"
    family = "gradient"
    summary = "channels weighted by their gradient, averaged in proportion to the activation"
    cost = "1 with backward"
    formula = GradientFormula.XGRADCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """Sum_ij g A / sum_ij A as a graph node, [N, K, 1, 1]."""
        from adcc_onnx.graph.autodiff.builder import DOUBLE, FLOAT

        assert gradients is not None
        # If A is signed, its sum may almost vanish, and float32 would round it too coarsely.
        values = activations.cast(DOUBLE)
        total = values.sum([2, 3])
        mean = (gradients.cast(DOUBLE) * values).sum([2, 3]) / total
        return total.equals(0.0).where(0.0, mean).cast(FLOAT)


@dataclass(frozen=True)
class LayerCAM(GradientMapMethod):
    """ReLU(sum_k ReLU(g_k) A_k), each location weighted by its own gradient.

    Jiang et al., IEEE Transactions on Image Processing 2021,
    https://doi.org/10.1109/TIP.2021.3089943.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 1]], [[0, 2]]]], np.float32)
        >>> g = np.array([[[[3, -1]], [[5, 2]]]], np.float32)
        >>> LayerCAM().raw_maps(ArrayContext(activations=a, gradients=g))
        array([[[3., 4.]]], dtype=float32)
    """

    name = "layercam"
    title = "LayerCAM"
    family = "gradient"
    summary = "each location weighted by its positive gradient"
    cost = "1 with backward"
    formula = GradientFormula.LAYERCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """ReLU(g) as a graph node, [N, K, h, w]."""
        assert gradients is not None
        return gradients.op("Relu")


@dataclass(frozen=True)
class HiResCAM(GradientMapMethod):
    """ReLU(sum_k g_k A_k), each location weighted by its own gradient.

    Draelos and Carin, 2020, https://arxiv.org/abs/2011.08891. The paper shows the sum without
    ReLU; comparisons in the literature, and this class, apply it.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 1]], [[0, 2]]]], np.float32)
        >>> g = np.array([[[[3, -1]], [[5, 2]]]], np.float32)
        >>> HiResCAM().raw_maps(ArrayContext(activations=a, gradients=g))
        array([[[3., 3.]]], dtype=float32)
    """

    name = "hirescam"
    title = "HiResCAM"
    family = "gradient"
    summary = "each location weighted by its gradient"
    cost = "1 with backward"
    formula = GradientFormula.HIRESCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """The gradients g themselves, [N, K, h, w]."""
        assert gradients is not None
        return gradients


@dataclass(frozen=True)
class GradCAMElementWise(GradientMapMethod):
    """sum_k ReLU(g_k A_k), so that no channel cancels another at the same location.

    Gildenblat et al., pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam, after the
    element-wise Grad-CAM of Pillai and Pirsiavash, AAAI 2021.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 1]], [[0, 2]]]], np.float32)
        >>> g = np.array([[[[3, -1]], [[5, 2]]]], np.float32)
        >>> GradCAMElementWise().raw_maps(ArrayContext(activations=a, gradients=g))
        array([[[3., 4.]]], dtype=float32)
    """

    name = "gradcamelementwise"
    title = "Grad-CAM element-wise"
    family = "gradient"
    summary = "positive products of gradient and activation, summed over channels"
    cost = "1 with backward"
    formula = GradientFormula.ELEMENTWISE

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        """Sum_k ReLU(g_k A_k) as nodes of a graph, [N, h, w]."""
        assert gradients is not None
        return (activations * gradients).op("Relu").sum([1], keepdims=False)


@dataclass(frozen=True)
class ShapleyCAM(WeightedMethod):
    """ReLU(sum_k w_k A_k) with w_k = mean_ij (g - H A / 2)_k, H the Hessian of y_c in A.

    Where the logit is linear in A, as behind global average pooling, this is Grad-CAM. The paper's
    own figures explain the logit plus the probability of the class.
    Cai, 2025, https://arxiv.org/abs/2501.06261.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 2]]]], np.float32)
        >>> g, product = np.full_like(a, 3), np.full_like(a, 4)  # w = 3 - 4 / 2
        >>> ShapleyCAM().raw_maps(ArrayContext(activations=a, gradients=g, hessian_product=product))
        array([[[1., 2.]]], dtype=float32)
    """

    name = "shapleycam"
    title = "ShapleyCAM"
    family = "gradient"
    summary = "Grad-CAM with a second-order term: an estimate of the channels' Shapley values"
    cost = "1 + 1 with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS, Need.HESSIAN_PRODUCT})

    def weights(self, context: MethodContext) -> Float32Array:
        """Mean_ij (g - H A / 2), [N, K]."""
        return gradcam_weights(context.gradients - context.hessian_product / 2)
