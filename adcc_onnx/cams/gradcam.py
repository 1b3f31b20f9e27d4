"""Grad-CAM."""

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
class GradCAM(GradientMapMethod):
    """ReLU(sum_k w_k A_k) with w_k = mean_ij g_k.

    Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391.
    """

    name = "gradcam"
    family = "gradient"
    summary = "channels weighted by their mean gradient"
    cost = "1 with backward"
    formula = GradientFormula.GRADCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        assert gradients is not None
        return gradients.mean([2, 3])
