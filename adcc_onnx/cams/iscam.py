"""IS-CAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import MethodContext
from adcc_onnx.cams.method_registry import method
from adcc_onnx.cams.scorecam import ScoreCAM
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array


@method
@dataclass(frozen=True)
class ISCAM(ScoreCAM):
    """Score-CAM whose w_k averages the score over the masks i/n M_k, i = 1..n.

    Each step is scored by itself; nothing is accumulated from one to the next.
    Naidu, Ghosh, Maurya, K and Kundu, 2020, https://arxiv.org/abs/2010.03023.

    Attributes:
        n: steps, at least 1; each costs as much as Score-CAM.
        scores, weights: as in Score-CAM.

    Raises:
        OptionError: n is below 1.
    """

    name = "iscam"
    summary = "Score-CAM with its masks' scores averaged over their strength"
    cost = "1 + n live channels"

    n: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise OptionError(f"iscam: n must be at least 1, not {self.n}")

    def mask_scores(
        self, context: MethodContext, image: int, masks: Float32Array
    ) -> NDArray[np.float64]:
        steps = (np.float32(i / self.n) for i in range(1, self.n + 1))
        parts = [super(ISCAM, self).mask_scores(context, image, masks * step) for step in steps]
        total: NDArray[np.float64] = np.sum(parts, axis=0)
        return total / self.n
