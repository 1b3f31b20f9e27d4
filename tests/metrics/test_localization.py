"""Localization metrics against scipy, scikit-learn, plain loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from adcc_onnx.errors import OptionError
from adcc_onnx.metrics.localization import BestIoU, EnergyPointingGame, IoU, PointingGame
from adcc_onnx.metrics.metric import ExplainedBatch, Metric

jaccard_score = pytest.importorskip("sklearn.metrics").jaccard_score
N, SIZE = 12, (19, 23)
ALL = (PointingGame(), PointingGame(3), EnergyPointingGame(), IoU(), BestIoU())


def explained(maps: np.ndarray, truth: np.ndarray) -> ExplainedBatch:
    return ExplainedBatch(np.ones(len(maps)), maps=maps.astype(np.float32), truth=truth)


def random_case(seed: int = 0, levels: int | None = None) -> ExplainedBatch:
    """Maps and blobs; with `levels`, maps of a few values, so that many pixels tie."""
    rng = np.random.default_rng(seed)
    maps = rng.random((N, *SIZE))
    if levels:
        maps = np.floor(maps * levels) / levels
    truth = ndimage.gaussian_filter(rng.standard_normal((N, *SIZE)), (0, 3, 3)) > 0.05
    return explained(maps, truth)


@pytest.mark.parametrize("tolerance", [0, 1, 2, 5, 15])
def test_pointing_game_against_scipys_distances(tolerance: int) -> None:
    case = random_case()
    wanted = []
    for m, known in zip(case.maps, case.truth, strict=True):
        distance = ndimage.distance_transform_edt(~known)
        wanted.append(float(distance[np.unravel_index(m.argmax(), m.shape)] <= tolerance))
    assert 0 < sum(wanted) <= N
    np.testing.assert_array_equal(PointingGame(tolerance).score(case), wanted)


def test_pointing_game_at_the_edge_of_the_tolerance() -> None:
    """A 3-4-5 triangle: the object 5 pixels away, neither 4 nor the 7 of a city's blocks."""
    m, known = np.zeros((1, 12, 12)), np.zeros((1, 12, 12), bool)
    m[0, 8, 9], known[0, 4, 6] = 1, True
    scores = [float(PointingGame(t).score(explained(m, known))[0]) for t in (4, 5, 7)]
    assert scores == [0, 1, 1]


def test_tied_maxima_count_by_the_share_that_hits() -> None:
    """Choosing by lot hits a flat map at the rate of the object's area, whatever the raster."""
    known = np.zeros((1, 10, 10), bool)
    known[0, :2] = True
    flat, fake, pair = np.ones((1, 10, 10)), np.ones((1, 10, 10)), np.zeros((1, 10, 10))
    fake[0, 0, 0] = 0
    pair[0, 0, 3] = pair[0, 9, 3] = 0.7
    for m, share in ((flat, 0.2), (fake, 19 / 99), (pair, 0.5)):
        assert PointingGame().score(explained(m, known))[0] == pytest.approx(share, abs=1e-15)
    rng = np.random.default_rng(0)
    lots = [known[0].ravel()[rng.choice(np.flatnonzero(fake[0] == 1))] for _ in range(20_000)]
    assert np.mean(lots) == pytest.approx(19 / 99, abs=4 * np.sqrt(0.19 * 0.81 / 20_000))


def test_energy_against_a_plain_loop() -> None:
    case = random_case(1)
    wanted = []
    for m, known in zip(case.maps, case.truth, strict=True):
        inside = total = 0.0
        for value, on in zip(m.ravel().tolist(), known.ravel().tolist(), strict=True):
            total += value
            inside += value if on else 0.0
        wanted.append(inside / total)
    np.testing.assert_allclose(EnergyPointingGame().score(case), wanted, rtol=1e-13)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.75, 1.0])
def test_iou_against_scikit_learns_jaccard(threshold: float) -> None:
    case = random_case(2, levels=4)
    wanted = [
        jaccard_score(known.ravel(), m.ravel() >= threshold, zero_division=0)
        for m, known in zip(case.maps, case.truth, strict=True)
    ]
    np.testing.assert_allclose(IoU(threshold).score(case), wanted, rtol=1e-14)


@pytest.mark.parametrize("levels", [None, 5, 1])
def test_best_iou_against_every_threshold(levels: int | None) -> None:
    case = random_case(3, levels)
    if levels is None:  # every pixel is a threshold of its own: two images are enough
        case = explained(case.maps[:2], case.truth[:2])
    wanted = []
    for m, known in zip(case.maps, case.truth, strict=True):
        thresholds = [t for t in np.unique(m) if t > 0]
        tried = [jaccard_score(known.ravel(), m.ravel() >= t, zero_division=0) for t in thresholds]
        wanted.append(max(tried, default=0.0))
    np.testing.assert_allclose(BestIoU().score(case), wanted, rtol=1e-14)


def test_best_iou_is_no_less_than_any_and_independent_of_scale() -> None:
    case = random_case(4)
    best = BestIoU().score(case)
    for threshold in (0.1, 0.5, 0.9):
        assert (best >= IoU(threshold).score(case)).all()
    squared = explained(case.maps.astype(np.float64) ** 2, case.truth)
    np.testing.assert_array_equal(BestIoU().score(squared), best)


def test_the_truth_itself_and_its_opposite() -> None:
    truth = random_case(5).truth
    for metric in ALL:
        assert (metric.score(explained(truth, truth)) == 1).all()
    for metric in (PointingGame(), EnergyPointingGame(), IoU(), BestIoU()):
        assert (metric.score(explained(~truth, truth)) == 0).all()


def test_two_squares_in_closed_form() -> None:
    """Squares of 6 x 6 that share 3 x 6 pixels: 18 of 54."""
    m, known = np.zeros((1, 16, 16)), np.zeros((1, 16, 16), bool)
    m[0, 2:8, 2:8], known[0, 2:8, 5:11] = 0.8, True
    case = explained(m, known)
    assert IoU().score(case)[0] == BestIoU().score(case)[0] == pytest.approx(1 / 3)
    assert EnergyPointingGame().score(case)[0] == pytest.approx(1 / 2)
    assert PointingGame().score(case)[0] == pytest.approx(1 / 2)
    assert IoU(0.9).score(case)[0] == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_map_of_zeros_has_nothing_and_no_truth_has_no_value(metric: Metric) -> None:
    maps, truth = random_case(6).maps.copy(), random_case(6).truth.copy()
    maps[0], truth[1] = 0, False
    scores = metric.score(explained(maps, truth))
    assert scores.dtype == np.float64 and scores.shape == (N,)
    assert scores[0] == 0 and np.isnan(scores[1]) and np.isfinite(scores[2:]).all()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="tolerance"):
        PointingGame(-1)
    for threshold in (0.0, 1.5, float("nan")):
        with pytest.raises(OptionError, match="threshold"):
            IoU(threshold)
