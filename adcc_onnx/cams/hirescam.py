"""HiResCAM."""

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
class HiResCAM(Method):
    """ReLU(sum_k g_k A_k), each location weighted by its own gradient.

    Draelos and Carin, 2020, https://arxiv.org/abs/2011.08891; the paper draws the sum without
    ReLU, the literature that compares it, and we, with it.
    """

    name = "hirescam"
    family = "gradient"
    summary = "each location weighted by its own gradient"
    cost = "1 with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})

    def raw_maps(self, evidence: Evidence) -> Floats:
        return location_weighted_sum(evidence.activations, evidence.gradients, positive_only=False)

    def graph_maps(self, activations: Tensor, gradients: Tensor | None) -> Tensor:
        assert gradients is not None
        return (gradients * activations).sum([1], keepdims=False).op("Relu")
