"""XGrad-CAM."""

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
class XGradCAM(GradientMapMethod):
    """ReLU(sum_k w_k A_k) with w_k = sum_ij g_k A_k / sum_ij A_k, and 0 where the divisor is 0.

    Fu et al., BMVC 2020, https://arxiv.org/abs/2008.02312.
    """

    name = "xgradcam"
    family = "gradient"
    summary = "channels weighted by the mean of their gradient where they are active"
    cost = "1 with backward"
    formula = GradientFormula.XGRADCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        assert gradients is not None
        total = activations.sum([2, 3])
        mean = (gradients * activations).sum([2, 3]) / total
        return total.equals(0.0).where(0.0, mean)
