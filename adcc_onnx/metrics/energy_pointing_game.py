"""Energy-based pointing game: how much of the map lies on the object."""

from __future__ import annotations

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import Explained, Metric, MetricNeed, maps, truth


class EnergyPointingGame(Metric):
    """The sum of M on the object over the sum of M; 0 where M is all zeros.

    An image without truth has no value (NaN).
    Wang et al., Score-CAM, CVPRW 2020, section 4.3, https://arxiv.org/abs/1910.01279.
    """

    name = "energy_pointing_game"
    title = "Energy"
    summary = "how much of the map lies on the object"
    higher_is_better = True
    needs = frozenset({MetricNeed.TRUTH})

    def score(self, explained: Explained) -> Float64Array:
        m, known = maps(explained), truth(explained)
        energy = m.sum(axis=(1, 2), dtype=np.float64)
        inside = np.where(known, m, 0).sum(axis=(1, 2), dtype=np.float64)
        shares = np.divide(inside, energy, out=np.zeros_like(inside), where=energy > 0)
        return np.where(known.any(axis=(1, 2)), shares, np.nan)
