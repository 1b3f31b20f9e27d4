"""Early stopping on per-image values of three real models, in many random orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.stopping_simulation import (
    CONTROLS,
    PAIRS,
    WIDTHS,
    Outcomes,
    interval_misses,
    read_values,
    simulate,
)
from scipy import stats

from adcc_onnx.results.stopping_rule import StoppingRule

MODELS = ["bvlc_googlenet", "deit_tiny_patch16_224", "mobilenet_v2"]
# Median number of images that a plain asymptotic confidence sequence with a correction for all
# pairs of ten methods needs to find the difference.
PLAIN = {
    ("mobilenet_v2", "gradcam", "gradcam++"): 66,
    ("mobilenet_v2", "gradcam", "center"): 172,
    ("bvlc_googlenet", "gradcam", "gradcam++"): 206,
    ("deit_tiny_patch16_224", "center", "gradcam"): 118,
}


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    found = data / "per_image"
    if not found.is_dir():
        pytest.skip("ADCC_TEST_DATA has no per_image/")
    return found


def run(folder: Path, model: str, chosen: Sequence[str], orders: int) -> Outcomes:
    methods, values = read_values(folder / f"{model}.csv")
    chosen = chosen or methods
    controls = [name in CONTROLS and len(chosen) > 2 for name in chosen]
    return simulate(values[[methods.index(n) for n in chosen]], controls, StoppingRule(), orders)


def most_wrong(orders: int) -> float:
    """The largest fraction of wrong runs that is compatible with 5 %."""
    return float(stats.binom.ppf(0.999, orders, 0.05)) / orders


@pytest.mark.parametrize("pair", PLAIN, ids="-".join)
def test_a_winner_is_certain_after_no_more_images_than_plainly(
    folder: Path, pair: tuple[str, str, str]
) -> None:
    model, *chosen = pair
    found = run(folder, model, chosen, 200)
    assert np.median(found.images) <= PLAIN[pair]
    assert found.wrong.mean() <= most_wrong(200)


@pytest.mark.parametrize("model", MODELS)
def test_verdicts_on_ten_methods_are_rarely_wrong(folder: Path, model: str) -> None:
    found = run(folder, model, [], 40)
    assert found.wrong.mean() <= most_wrong(40)
    assert (found.dropped_at.mean(axis=1) < 0.8 * found.images).mean() > 0.9


@pytest.mark.parametrize("model", MODELS)
def test_intervals_hold_the_score_of_the_dataset(folder: Path, model: str) -> None:
    for values in read_values(folder / f"{model}.csv")[1]:
        misses, _, ever = interval_misses(values, WIDTHS, 200)
        assert max(*misses.values(), ever) <= most_wrong(200)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_ten_thousand_orders(folder: Path, model: str) -> None:
    """`python -m helpers.stopping_simulation` prints these numbers."""
    for chosen in ([], *PAIRS[model]):
        found = run(folder, model, chosen, 10_000)
        assert found.wrong.mean() <= most_wrong(10_000)
        plain = PLAIN.get((model, *chosen))
        assert plain is None or np.median(found.images) <= plain
    for values in read_values(folder / f"{model}.csv")[1]:
        misses, _, ever = interval_misses(values, WIDTHS, 10_000)
        assert max(*misses.values(), ever) <= most_wrong(10_000)
