"""Mean ranks against scipy, and the critical difference against the table of Demsar (2006)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adcc_onnx.statistics.rank_tests import mean_ranks

# Critical values q_0.05 of the two-tailed Nemenyi test: Demsar 2006, table 5 (a).
CRITICAL_VALUES = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 10: 3.164}


@pytest.mark.parametrize(("methods", "q"), CRITICAL_VALUES.items())
def test_the_critical_difference_is_the_published_one(methods: int, q: float) -> None:
    values = np.random.default_rng(0).random((methods, 30))
    found = mean_ranks(values, 0.95)
    assert found.critical_difference == pytest.approx(
        q * np.sqrt(methods * (methods + 1) / (6 * 30)), abs=6e-4
    )


def test_friedmans_statistic_of_the_ranks_is_scipys() -> None:
    values = np.random.default_rng(1).random((4, 25))
    ranks, k, n = mean_ranks(values, 0.95).ranks, 4, 25
    friedman = 12 * n / (k * (k + 1)) * ((ranks**2).sum() - k * (k + 1) ** 2 / 4)
    assert friedman == pytest.approx(stats.friedmanchisquare(*values).statistic)


def test_groups_are_maximal_and_join_only_close_ranks() -> None:
    # Ranks 1, 2, 3 on all 12 images; the critical difference is 2.343 * sqrt(1 / 6) = 0.957.
    values = np.repeat([[3.0], [2.0], [1.0]], 12, axis=1)
    assert mean_ranks(values, 0.95).groups == []
    # With 8 images it is 1.17, so that neighbors are joined but not the ends.
    assert mean_ranks(values[:, :8], 0.95).groups == [[0, 1], [1, 2]]
    assert mean_ranks(np.ones((3, 8)), 0.95).groups == [[0, 1, 2]]
