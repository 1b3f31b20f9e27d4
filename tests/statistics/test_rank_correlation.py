"""Kendall's tau between rankings."""

from __future__ import annotations

import numpy as np
import pytest

from adcc_onnx.statistics.rank_correlation import kendall_tau_matrix


def tau_b(x: np.ndarray, y: np.ndarray) -> float:
    """From the definition: concordant less discordant pairs, ties in either one aside."""
    agree, left, right = 0.0, 0, 0
    for i in range(len(x)):
        for j in range(i):
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            agree += a * b
            left, right = left + abs(a), right + abs(b)
    return agree / np.sqrt(left * right)


def test_agreement_is_kendalls_tau_b() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.random((4, 9)), 1)
    found = kendall_tau_matrix(scores)
    for i in range(4):
        for j in range(4):
            assert found[i, j] == pytest.approx(tau_b(scores[i], scores[j]))
    np.testing.assert_allclose(np.diag(found), 1.0)


def test_tau_of_reverse_and_undefined_rankings() -> None:
    ramp = np.arange(5.0)
    missing = np.array([0.0, np.nan, np.nan, np.nan, np.nan])
    found = kendall_tau_matrix(np.stack([ramp, -ramp, np.ones(5), missing]))
    assert found[0, 1] == pytest.approx(-1.0)
    assert np.isnan(found[0, 2]) and np.isnan(found[0, 3])
    part = kendall_tau_matrix(np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 2.0]]))
    assert part[0, 1] == pytest.approx(1.0)
