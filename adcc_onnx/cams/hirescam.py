"""HiResCAM."""

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
class HiResCAM(GradientMapMethod):
    """ReLU(sum_k g_k A_k), each location weighted by its own gradient.

    Draelos and Carin, 2020, https://arxiv.org/abs/2011.08891; the paper draws the sum without
    ReLU, the literature that compares it, and we, with it.
    """

    name = "hirescam"
    family = "gradient"
    summary = "each location weighted by its own gradient"
    cost = "1 with backward"
    formula = GradientFormula.HIRESCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        assert gradients is not None
        return gradients
