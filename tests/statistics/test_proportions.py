"""Wilson's interval and McNemar's test against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adcc_onnx.statistics.proportions import mcnemar_p_value, wilson_interval


@pytest.mark.parametrize("trials", [1, 7, 100, 5000])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_interval(trials: int, share: float, confidence: float) -> None:
    successes = round(share * trials)
    wanted = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    found = wilson_interval(successes, trials, confidence)
    np.testing.assert_allclose(found, (wanted.low, wanted.high), atol=1e-12)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    rng = np.random.default_rng(0)
    for images in (1, 12, 100):
        for _ in range(20):
            first, second = rng.random((2, images)) < rng.random((2, 1))
            better, worse = int((first & ~second).sum()), int((second & ~first).sum())
            wanted = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
            assert mcnemar_p_value(first, second) == pytest.approx(wanted, abs=1e-12)
            assert mcnemar_p_value(second, first) == mcnemar_p_value(first, second)
