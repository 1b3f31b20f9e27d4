"""Verdicts on methods whose scores are known, after growing numbers of images."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.simulations import adcc_of_means, explained
from helpers.stopping_simulation import CONTROLS, PARTS, simulate

from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.results.ordered_values import OrderedValues
from adcc_onnx.results.score_definitions import Score, main_score, scores_of
from adcc_onnx.results.sequential_comparison import SequentialComparison, compare_sequentially
from adcc_onnx.results.sequential_ranking import sequential_ranking
from adcc_onnx.results.sequential_summary import summarize
from adcc_onnx.results.stopping_rule import StoppingRule

N = 600


def score(metric: str = "adcc") -> Score:
    return main_score(scores_of(get_metrics([metric])))


def ordered(values: np.ndarray, count: int = N) -> OrderedValues:
    """Values of the parts of ADCC on the first images, [3, N]."""
    columns = {name: column[:count] for name, column in zip(PARTS, values, strict=True)}
    columns["adcc"] = np.where(np.isnan(values).any(axis=0), np.nan, 0.5)[:count]
    return OrderedValues(columns, count)


def worse(values: np.ndarray, by: float) -> np.ndarray:
    return np.clip(values + by * np.array([[1], [-1], [1]]), 0, 1)


def compare(
    values: dict[str, np.ndarray], rule: StoppingRule | None = None, metric: str = "adcc",
    population: int = N, counts: dict[str, int] | None = None,
) -> SequentialComparison:  # fmt: skip
    methods = {name: ordered(one, (counts or {}).get(name, N)) for name, one in values.items()}
    controls = [name for name in values if name in CONTROLS]
    return compare_sequentially(
        methods, controls, score(metric), rule or StoppingRule(), population
    )


@pytest.fixture
def good() -> np.ndarray:
    return explained(np.random.default_rng(0), N)


def verdicts(found: SequentialComparison) -> dict[str, str]:
    return {name: found.verdict(name) for name in (*found.methods, *found.controls)}


def test_a_clear_winner_is_certain_early(good: np.ndarray) -> None:
    found = compare({"good": good, "bad": worse(good, 0.1), "center": worse(good, 0.2)})
    assert found.stopped
    assert found.images < 100
    assert verdicts(found) == {"good": "best", "bad": "worse", "center": "worse"}
    assert found.dropped == {"bad", "center"}
    assert found.p_value("bad") <= 0.05
    assert found.p_value("good") > 0.5


def test_equal_methods_are_equivalent_and_need_more_images(good: np.ndarray) -> None:
    found = compare({"one": good, "two": good.copy(), "bad": worse(good, 0.1)})
    assert verdicts(found) == {"one": "equivalent", "two": "equivalent", "bad": "worse"}
    assert 50 < found.images < N
    assert found.p_value("two") == 1


def test_a_difference_that_is_too_small_to_be_seen_takes_all_images() -> None:
    """Then the answer is exact."""
    rng = np.random.default_rng(1)
    base = explained(rng, N)
    near = worse(base[:, rng.permutation(N)], 0.0002)
    found = compare({"base": base, "near": near}, StoppingRule(margin=1e-6))
    assert found.images == N
    assert verdicts(found) == {"base": "best", "near": "worse"}
    assert found.evidence.difference("near", "base", 0.05)[1] == pytest.approx(
        np.full(2, np.diff([adcc(base), adcc(near)])[0]), abs=1e-12
    )


def adcc(values: np.ndarray) -> float:
    return float(adcc_of_means(values.mean(axis=1)[:, None])[0, 0])


def test_a_control_that_is_better_than_every_method(good: np.ndarray) -> None:
    found = compare({"one": worse(good, 0.1), "two": worse(good, 0.2), "center": good})
    assert verdicts(found) == {"one": "best", "two": "worse", "center": "better"}
    alike = compare({"one": good, "two": worse(good, 0.2), "center": good.copy()})
    assert verdicts(alike) == {"one": "best", "two": "worse", "center": "equivalent"}


def test_controls_alone_are_compared_like_methods(good: np.ndarray) -> None:
    found = compare({"center": good, "random": worse(good, 0.2)})
    assert verdicts(found) == {"center": "best", "random": "worse"}


def test_scores_that_are_better_when_lower(good: np.ndarray) -> None:
    found = compare({"good": good, "bad": worse(good, 0.3)}, metric="average_drop")
    assert verdicts(found) == {"good": "best", "bad": "worse"}
    difference, (low, high) = found.evidence.difference("bad", "good", 0.1)
    assert 0 < low < difference < high


def test_images_and_methods_that_fail(good: np.ndarray) -> None:
    """A method without any value is no candidate; images without a value are left out."""
    some, never = good.copy(), np.full_like(good, np.nan)
    some[:, ::3] = np.nan
    found = compare({"good": some, "bad": worse(good, 0.1), "broken": never, "random": never})
    assert found.stopped
    assert verdicts(found) == {"good": "best", "bad": "worse", "broken": "open", "random": "open"}
    ranking = sequential_ranking(found)
    assert ranking is not None
    assert ranking.order == ["good", "bad", "broken"]
    assert "broken" not in ranking.p_values
    nothing = compare({"broken": never, "alike": never})
    assert (nothing.images, sequential_ranking(nothing)) == (N, None)


def test_nothing_is_said_before_the_first_look(good: np.ndarray) -> None:
    counts = {"good": 19, "bad": 40}
    found = compare({"good": good, "bad": worse(good, 0.2)}, counts=counts)
    assert (found.images, found.stopped) == (0, False)
    assert verdicts(found) == {"good": "open", "bad": "open"}
    assert found.p_value("bad") == 1


def test_a_dropped_method_keeps_its_verdict_and_its_rank(good: np.ndarray) -> None:
    """It had an easy start: its own score is higher than that of the best method in the end."""
    best = good.copy()
    best[:, :40] = worse(good, -0.2)[:, :40]
    bad = worse(best, 0.1)
    close = best.copy()
    values = {"bad": bad, "best": best, "close": close}
    everything = compare(values)
    dropped_at = min(
        count for count in range(20, N, 10)
        if "bad" in compare(values, counts=dict.fromkeys(values, count)).dropped
    )  # fmt: skip
    found = compare(values, counts={"bad": dropped_at, "best": N, "close": N})
    assert (found.images, verdicts(found)) == (everything.images, verdicts(everything))
    ranking = sequential_ranking(found)
    assert ranking is not None
    assert ranking.order == ["best", "close", "bad"]
    assert summarize(found, found.stopped).standings["bad"].images == dropped_at
    kept = compare(values, StoppingRule(keep_all=True))
    assert (kept.dropped, kept.images) == (frozenset(), everything.images)


@pytest.mark.parametrize("seed", range(4))
def test_the_simulation_follows_the_same_rules(seed: int, good: np.ndarray) -> None:
    """The vectorized runs of the helper end like those of the program."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.1, (5, *good.shape))
    shifts = (0, 0.03, 0.004, 0.02, 0.2)
    methods = np.clip([worse(good, by) for by in shifts] + noise, 0, 1)
    names = ["one", "two", "three", "center", "random"]
    controls = [name in CONTROLS for name in names]
    runs = simulate(methods, controls, StoppingRule(), orders=6, seed=seed)
    orders = np.argsort(np.random.default_rng(seed).random((6, N)), axis=1)
    for run, order in enumerate(orders):
        values = dict(zip(names, methods[:, :, order], strict=True))
        found = compare(values)
        assert found.images == runs.images[run]
        candidates = [name for name, kept in zip(names, runs.candidates[run], strict=True) if kept]
        assert found.candidates == candidates
