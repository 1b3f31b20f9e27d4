"""Betting on bounded means, against all orders of small datasets and plain products."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from adcc_onnx.statistics.betting import _BETS, betting_interval, log_betting_evidence


def test_the_capital_is_the_mean_of_products_of_bets() -> None:
    values, null, population = np.array([0.7, 0.9, 0.2, 0.8]), 0.5, 10
    capital, total = np.ones(len(_BETS)), 0.0
    for drawn, value in enumerate(values):
        expected = (population * null - total) / (population - drawn)
        capital *= 1 + _BETS / expected * (value - expected)
        total += value
    found = log_betting_evidence(values, null, (0.0, 1.0), np.full(4, float(population)))
    assert found[-1] == pytest.approx(math.log(capital.mean()), abs=1e-12)


@pytest.mark.parametrize("values", [[0.0, 0.1, 1.0, 0.3, 0.6], [0, 0, 0, 1, 1], [0.4] * 5])
def test_the_expected_capital_is_one_over_all_orders(values: list[float]) -> None:
    """If the hypothesis is just true, the game is fair at every number of images."""
    orders = np.array(list(itertools.permutations(values)))
    found = log_betting_evidence(orders, float(np.mean(values)), (0.0, 1.0), np.full(5, 5.0))
    assert np.exp(found[:, :4]).mean(axis=0) == pytest.approx(np.ones(4), abs=1e-9)
    higher = log_betting_evidence(orders, float(np.mean(values)) + 0.1, (0.0, 1.0), np.full(5, 5.0))
    assert (np.exp(higher[:, :4]).mean(axis=0) < 1).all()


def test_all_images_give_an_exact_answer() -> None:
    values, populations = np.array([0.2, 0.4, 0.9]), np.full(3, 3.0)
    assert log_betting_evidence(values, 0.49, (0.0, 1.0), populations)[-1] == np.inf
    assert np.isfinite(log_betting_evidence(values, 0.5, (0.0, 1.0), populations)[-1])
    low, high = betting_interval(values, 0.05, (0.0, 1.0), populations)
    assert (low, high) == pytest.approx((0.5, 0.5), abs=1e-6)


@pytest.mark.parametrize("kind", ["rare", "half", "spread"])
def test_the_mean_is_rarely_missed_at_any_look(kind: str) -> None:
    """Also where 2 % of the images have almost all of the sum, so that a variance is useless."""
    rng = np.random.default_rng(5)
    images = {
        "rare": np.where(np.arange(500) < 10, 1.0, 0.0),
        "half": np.where(np.arange(500) < 250, 1.0, 0.0),
        "spread": rng.beta(2, 5, 500),
    }[kind]
    orders = np.argsort(rng.random((1500, 500)), axis=1)
    populations, level = np.full(500, 500.0), math.log(40)
    above = log_betting_evidence(images[orders], images.mean(), (0.0, 1.0), populations)
    below = log_betting_evidence(-images[orders], -images.mean(), (-1.0, 0.0), populations)
    missed = ((above[:, :-1] >= level) | (below[:, :-1] >= level)).any(axis=1).mean()
    assert missed < stats.binom.ppf(0.999, 1500, 0.05) / 1500


def test_intervals_shrink_and_hold_the_mean() -> None:
    images = np.random.default_rng(7).beta(6, 2, 2000)
    widths = []
    for count in (50, 500, 1900):
        low, high = betting_interval(images[:count], 0.05, (0.0, 1.0), np.full(count, 2000.0))
        assert low < images.mean() < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
