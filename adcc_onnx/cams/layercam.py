"""LayerCAM."""

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
class LayerCAM(GradientMapMethod):
    """ReLU(sum_k ReLU(g_k) A_k), each location weighted by its own gradient.

    Jiang et al., IEEE Transactions on Image Processing 2021,
    https://doi.org/10.1109/TIP.2021.3089943.
    """

    name = "layercam"
    family = "gradient"
    summary = "each location weighted by its own positive gradient"
    cost = "1 with backward"
    formula = GradientFormula.LAYERCAM

    def graph_weights(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        assert gradients is not None
        return gradients.op("Relu")
