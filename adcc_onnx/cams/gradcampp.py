"""Grad-CAM++."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adcc_onnx.cams.method import GradientMapMethod
from adcc_onnx.cams.method_registry import method
from adcc_onnx.kernels.gradient_maps import GradientFormula

if TYPE_CHECKING:
    from adcc_onnx.graph.autodiff.builder import Tensor


@method
@dataclass(frozen=True)
class GradCAMPP(GradientMapMethod):
    """ReLU(sum_k w_k A_k) with w_k = sum_ij alpha_k ReLU(g_k).

    alpha_k = g_k^2 / (2 g_k^2 + S_k g_k^3) with S_k = sum_ij A_k, and 0 where the denominator
    is 0; no epsilon. The powers stand for the derivatives of exp(y_c), whose common factor cancels.
    Chattopadhay et al., WACV 2018, https://arxiv.org/abs/1710.11063.
    """

    name = "gradcam++"
    family = "gradient"
    summary = "positive gradients, each location by its share of the score"
    cost = "1 with backward"
    formula = GradientFormula.GRADCAM_PP

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        from adcc_onnx.graph.autodiff.builder import DOUBLE, FLOAT

        assert gradients is not None
        # g^2 / (2 g^2 + S g^3) = 1 / (2 + S g) wherever g is not 0, and elsewhere ReLU(g) is. Where
        # activations are signed, 2 + S g may nearly vanish: float32's rounding of S would show.
        slopes = gradients.cast(DOUBLE)
        divisor = 2.0 + activations.cast(DOUBLE).sum([2, 3]) * slopes
        share = slopes.op("Relu") / divisor
        return divisor.equals(0.0).where(0.0, share).sum([2, 3]).cast(FLOAT)
