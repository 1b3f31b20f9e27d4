"""The ranking of methods, with the controls apart and as a bar that methods must clear."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.results.pairwise import compare_pairs, rank_images
from adcc_onnx.results.ranking import MethodValues, rank
from adcc_onnx.results.score_definitions import Score, scores_of
from adcc_onnx.statistics.resampling import Resampling

IMAGES = 40
SETTINGS = Resampling(permutations=20_000)


@pytest.fixture
def insertion() -> Score:
    return scores_of(get_metrics(["insertion"]))["insertion"]


def shifted(name: str, by: float, control: bool = False, seed: int = 0) -> MethodValues:
    """A method whose values are those of the others plus a constant and a little noise."""
    base = np.random.default_rng(9).uniform(0.3, 0.6, IMAGES)
    noise = np.random.default_rng(seed).normal(0, 0.02, IMAGES)
    return MethodValues(name, np.arange(IMAGES), {"insertion": base + by + noise}, control)


def test_controls_are_not_ranked_but_tested_against(insertion: Score) -> None:
    methods = [
        shifted("good", 0.2, seed=1),
        shifted("center", 0.1, control=True, seed=2),
        shifted("no better", 0.1, seed=3),
        shifted("worse", 0.0, seed=4),
        shifted("random", -0.1, control=True, seed=5),
    ]
    found = rank(methods, insertion, SETTINGS)
    assert found is not None
    assert found.order == ["good", "no better", "worse"] and found.controls == ["center", "random"]
    assert found.best == "good" and found.best_control == "center"
    assert found.not_better_than_control(0.95) == ["no better", "worse"]
    assert found.control_p_values["worse"] == 1.0
    # Two controls and three methods make six hypotheses, of which the smallest p-value is first.
    good, center = methods[0].values["insertion"], methods[1].values["insertion"]
    assert stats.wilcoxon(good, center).pvalue < 1e-6
    assert found.control_p_values["good"] == pytest.approx(6 / 20_001)


def test_a_control_that_is_better_marks_every_method(insertion: Score) -> None:
    methods = [shifted("a", 0.0), shifted("center", 0.3, control=True)]
    found = rank(methods, insertion, SETTINGS)
    assert found is not None and found.not_better_than_control(0.95) == ["a"]
    assert found.best == "a" and found.not_significantly_worse(0.95) == []


def test_controls_alone_are_ranked_like_methods(insertion: Score) -> None:
    methods = [shifted("random", 0.0, True), shifted("center", 0.1, True)]
    found = rank(methods, insertion, SETTINGS)
    assert found is not None and found.order == ["center", "random"]
    assert found.controls == [] and found.best_control is None


def test_pairs_are_the_single_tests_corrected_together(insertion: Score) -> None:
    methods = [shifted("a", 0.0, seed=1), shifted("b", 0.005, seed=2), shifted("c", 0.1, seed=3)]
    found = compare_pairs(methods, insertion, SETTINGS)
    values = [method.values["insertion"] for method in methods]
    raw = {
        (i, j): stats.permutation_test(
            (values[i] - values[j],), np.mean, permutation_type="samples", n_resamples=20_000,
            rng=np.random.default_rng(0),
        ).pvalue
        for i, j in found.p_values
    }  # fmt: skip
    smallest = sorted(raw, key=lambda pair: raw[pair])
    assert found.p_values[0, 1] == pytest.approx(raw[0, 1], abs=0.02)  # the largest: factor 1
    assert found.p_values[smallest[0]] == pytest.approx(3 / 20_001)
    for (i, j), one in found.differences.items():
        assert one.value == pytest.approx(np.mean(values[i] - values[j]))
        assert one.interval is not None and one.interval[0] < one.value < one.interval[1]


def test_pairs_with_missing_images_are_compared_on_those_that_both_have(insertion: Score) -> None:
    methods = [shifted("a", 0.0, seed=1), shifted("b", 0.02, seed=2), shifted("c", 0.1, seed=3)]
    whole = compare_pairs(methods, insertion, SETTINGS)
    methods[2].values["insertion"][:10] = np.nan
    found = compare_pairs(methods, insertion, SETTINGS)
    one, other = found.differences[0, 1], whole.differences[0, 1]
    assert one.value == pytest.approx(other.value) and one.images == IMAGES
    both = methods[0].values["insertion"][10:], methods[2].values["insertion"][10:]
    assert found.differences[0, 2].images == IMAGES - 10
    assert found.differences[0, 2].value == pytest.approx(np.mean(both[0] - both[1]))


def test_images_are_ranked_by_their_own_values(insertion: Score) -> None:
    methods = [shifted("a", 0.0, seed=1), shifted("b", 0.01, seed=2)]
    found = rank_images(methods, insertion, SETTINGS)
    assert found is not None
    wins = (methods[0].values["insertion"] > methods[1].values["insertion"]).mean()
    np.testing.assert_allclose(found.ranks, [2 - wins, 1 + wins])
    assert rank_images(methods[:1], insertion, SETTINGS) is None
