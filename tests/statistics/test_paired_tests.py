"""Paired differences, permutation p-values and Holm's correction, against scipy and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.simulations import adcc_of_means, explained, false_positive_rate
from scipy import stats

from adcc_onnx.statistics.paired_tests import (
    holm_correction,
    paired_difference,
    pairwise_differences,
    pairwise_p_values,
    permutation_p_values,
)
from adcc_onnx.statistics.resampling import Resampling


def p_value(first: np.ndarray, second: np.ndarray, *how: Any) -> float:
    (found,) = permutation_p_values(first, second[None], *how)
    return float(found)


def mean_of(found: np.ndarray) -> np.ndarray:
    return found[0]


def adcc_of(found: np.ndarray) -> np.ndarray:
    return adcc_of_means(found)[0]


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    first = rng.beta(2.0, 2.0, (1, 30))
    return first, np.clip(first + rng.normal(0.03, 0.1, (1, 30)), 0, 1)


def test_a_difference_of_means_is_the_mean_of_the_differences(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    first, second = pair
    many = Resampling(replicates=50_000)
    found = paired_difference(first, second, mean_of, many)
    wanted = stats.bootstrap(
        ((first - second)[0],), np.mean, n_resamples=50_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.images == 30
    assert found.value == pytest.approx((first - second).mean())
    assert found.interval == pytest.approx(tuple(wanted), abs=1.5e-3)


def test_p_equals_scipys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    many = Resampling(permutations=99_999)
    wanted = stats.permutation_test(
        (first[0], second[0]),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=99_999,
        rng=np.random.default_rng(3),
    ).pvalue
    error = np.sqrt(wanted * (1 - wanted) / 99_999)
    assert p_value(first, second, mean_of, many) == pytest.approx(wanted, abs=5 * error)


def test_p_of_few_images_equals_the_exact_test() -> None:
    rng = np.random.default_rng(5)
    first, second = explained(rng, 8), explained(rng, 8)
    observed = abs(adcc_of(first.mean(axis=1)) - adcc_of(second.mean(axis=1)))
    extreme = 0
    for swaps in range(256):
        swapped = np.array([swaps >> i & 1 for i in range(8)], bool)
        one = np.where(swapped, second, first).mean(axis=1)
        other = np.where(swapped, first, second).mean(axis=1)
        extreme += abs(adcc_of(one) - adcc_of(other)) >= observed - 1e-12
    found = p_value(first, second, adcc_of, Resampling(permutations=99_999))
    assert found == pytest.approx(extreme / 256, abs=0.006)


def test_a_method_never_differs_from_itself() -> None:
    values = explained(np.random.default_rng(0), 50)
    found = paired_difference(values, values.copy(), adcc_of, Resampling())
    assert (found.value, found.interval) == (0.0, (0.0, 0.0))
    assert p_value(values, values.copy(), adcc_of, Resampling()) == 1.0


def test_a_clear_difference_has_the_smallest_possible_p() -> None:
    rng = np.random.default_rng(0)
    worse = explained(rng, 200)
    better = worse * np.array([[0.5], [1.0], [1.0]])
    found = paired_difference(better, worse, adcc_of, Resampling())
    assert found.value > 0 and found.interval is not None and found.interval[0] > 0
    assert paired_difference(worse, better, adcc_of, Resampling()).value == -found.value
    for pair in ((better, worse), (worse, better)):
        assert p_value(*pair, adcc_of, Resampling(permutations=999)) == 1 / 1000


def test_too_few_images_give_no_interval_and_p_of_1() -> None:
    here, there, nothing = np.array([[0.9]]), np.array([[0.1]]), np.empty((1, 0))
    one = paired_difference(here, there, mean_of, Resampling())
    assert one.interval is None and one.value == pytest.approx(0.8)
    assert p_value(here, there, mean_of, Resampling()) == 1.0
    none = paired_difference(nothing, nothing, mean_of, Resampling())
    assert none.interval is None and np.isnan(none.value)
    assert p_value(nothing, nothing, mean_of, Resampling()) == 1.0


def test_only_images_with_both_values_count() -> None:
    rng = np.random.default_rng(3)
    first = explained(rng, 30)
    others = np.stack([explained(rng, 30) for _ in range(3)])
    first[1, 4] = others[0, 2, 9] = np.nan
    others[1, :, 20:] = np.nan
    others[2] = np.nan
    found = permutation_p_values(first, others, adcc_of, Resampling(permutations=50_000))
    for p, other in zip(found[:2], others, strict=False):
        both = ~np.isnan(first + other).any(axis=0)
        wanted = p_value(first[:, both], other[:, both], adcc_of, Resampling(permutations=50_000))
        assert p == pytest.approx(wanted, abs=0.015)
    assert found[2] == 1.0


def test_p_is_uniform_under_the_null_hypothesis() -> None:
    rng, p = np.random.default_rng(9), []
    for seed in range(300):
        one, other = explained(rng, 40), explained(rng, 40)
        p.append(p_value(one, other, adcc_of, Resampling(seed=seed, permutations=499)))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04: never falling.
    found = holm_correction(np.array([0.04, 0.01, 0.03, 0.02]))
    np.testing.assert_allclose(found, [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm_correction(np.array([0.5, 0.9])), [1.0, 1.0])
    # Two of three possible: times 3, 2.
    np.testing.assert_allclose(holm_correction(np.array([0.01, 0.02]), 3), [0.03, 0.04])
    assert holm_correction(np.empty(0)).shape == (0,)


def test_holm_must_count_all_pairs_if_the_data_choose_the_best() -> None:
    with_the_best = false_positive_rate(methods=6, images=50, times=400, all_pairs=False)
    all_pairs = false_positive_rate(methods=6, images=50, times=400, all_pairs=True)
    assert all_pairs <= 0.05 < with_the_best


def test_all_pairs_at_once_are_the_pairs_one_by_one() -> None:
    """Scipy tests each pair of these ADCCs on its own in `test_p_equals_scipys` and its kind."""
    methods = np.stack([explained(np.random.default_rng(seed), 30) for seed in range(4)])
    settings = Resampling(permutations=999, replicates=200)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    alone = [
        permutation_p_values(methods[i], methods[j : j + 1], adcc_of, settings) for i, j in pairs
    ]
    found = pairwise_p_values(methods, adcc_of, settings)
    np.testing.assert_allclose(found, np.concatenate(alone), atol=1e-12)
    for (i, j), one in zip(pairs, pairwise_differences(methods, adcc_of, settings), strict=True):
        wanted = paired_difference(methods[i], methods[j], adcc_of, settings)
        assert one.value == pytest.approx(wanted.value, abs=1e-12)
        assert one.interval == pytest.approx(wanted.interval, abs=1e-12)
