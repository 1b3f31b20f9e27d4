"""LayerCAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adcc_onnx.cams.method import Evidence, Floats, Method, Need
from adcc_onnx.cams.registry import method
from adcc_onnx.kernels.assembly import location_weighted_sum

if TYPE_CHECKING:
    from adcc_onnx.graph.build import Tensor


@method
@dataclass(frozen=True)
class LayerCAM(Method):
    """ReLU(sum_k ReLU(g_k) A_k), each location weighted by its own gradient.

    Jiang et al., IEEE Transactions on Image Processing 2021,
    https://doi.org/10.1109/TIP.2021.3089943.
    """

    name = "layercam"
    family = "gradient"
    summary = "each location weighted by its own positive gradient"
    cost = "1 with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})

    def raw_maps(self, evidence: Evidence) -> Floats:
        return location_weighted_sum(evidence.activations, evidence.gradients, positive_only=True)

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        assert gradients is not None
        return (gradients.op("Relu") * activations).sum([1], keepdims=False).op("Relu")
