"""Metrics against scipy, the standard library and closed forms."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.upsample import upsample
from adcc_onnx.metrics import metric as metric_module
from adcc_onnx.metrics.adcc_family import ADCC
from adcc_onnx.metrics.metric import ExplainedBatch, MetricNeed
from adcc_onnx.metrics.metric_registry import (
    ADCC_FAMILY,
    METRICS,
    get_metric,
    get_metrics,
    list_metrics,
    metric_names,
)
from adcc_onnx.metrics.scoring import dataset_scores, mean_values, score_all

N, SIZE = 16, (20, 17)


@pytest.fixture(autouse=True)
def _built_in_only():
    with METRICS.isolated():
        yield


PLAIN = [*ADCC_FAMILY, "average_gain"]


def _explained(seed: int = 0) -> ExplainedBatch:
    rng = np.random.default_rng(seed)
    maps = rng.random((N, *SIZE), dtype=np.float32)
    mixed = (0.6 * maps + 0.4 * rng.random(maps.shape)).astype(np.float32)
    return ExplainedBatch(rng.random(N), rng.random(N), maps, mixed)


def _scores(name: str, explained: ExplainedBatch) -> np.ndarray:
    return score_all(get_metrics([name]), explained)[name]


def _dataset_scores(names: Iterable[str], explained: ExplainedBatch) -> dict[str, float]:
    metrics = get_metrics(names)
    found = dataset_scores(metrics, mean_values(score_all(metrics, explained)))
    return {name: float(score[0]) for name, score in found.items()}


def _probabilities(p: list[float], masked: list[float]) -> ExplainedBatch:
    return ExplainedBatch(np.array(p), np.array(masked))


def _fakecam(height: int, width: int, p: float = 0.9) -> ExplainedBatch:
    maps = np.ones((1, height, width), np.float32)
    maps[:, 0, 0] = 0
    return ExplainedBatch(np.array([p]), np.array([p]), maps, maps)


@pytest.mark.parametrize(
    ("p", "masked", "drop", "increase", "gain"),
    [
        (0.8, 0.2, 0.75, 0, 0),
        (0.5, 0.75, 0, 1, 0.5),
        (0.5, 0.5, 0, 0, 0),
        (0.0, 0.5, 0, 1, 0.5),
        (0.0, 0.0, 0, 0, 0),
        (1.0, 0.25, 0.75, 0, 0),
        (1.0, 1.0, 0, 0, 0),
        (0.25, 0.0, 1, 0, 0),
        (5e-324, 0.0, 1, 0, 0),
        (0.5, 1.0, 0, 1, 1),
    ],
)
@pytest.mark.filterwarnings("error")
def test_drop_increase_and_gain(p, masked, drop, increase, gain):
    explained = _probabilities([p], [masked])
    assert _scores("average_drop", explained)[0] == pytest.approx(drop, abs=1e-15)
    assert _scores("average_increase", explained)[0] == increase
    assert _scores("average_gain", explained)[0] == pytest.approx(gain, abs=1e-15)


def test_coherency_against_scipy():
    explained = _explained()
    expected = [
        (1 + stats.pearsonr(b.ravel().astype("f8"), a.ravel().astype("f8")).statistic) / 2
        for a, b in zip(explained.maps, explained.second_maps, strict=True)
    ]
    np.testing.assert_allclose(_scores("coherency", explained), expected, rtol=1e-12)


def test_coherency_where_a_map_has_no_variance_is_zero():
    maps = _explained().maps
    flat = np.zeros_like(maps)
    for first, second in ((maps, flat), (flat, maps), (flat, flat)):
        assert not _scores("coherency", ExplainedBatch(np.ones(N), None, first, second)).any()


def test_coherency_of_the_same_and_of_the_opposite_map():
    maps = _explained().maps
    assert (_scores("coherency", ExplainedBatch(np.ones(N), None, maps, maps)) == 1).all()
    assert (_scores("coherency", ExplainedBatch(np.ones(N), None, maps, 1 - maps)) < 1e-6).all()


def test_complexity():
    explained = _explained()
    expected = np.abs(explained.maps).sum(axis=(1, 2), dtype=np.float64) / (SIZE[0] * SIZE[1])
    np.testing.assert_allclose(_scores("complexity", explained), expected, rtol=1e-13)


def test_adcc_per_image_against_the_standard_library():
    explained = _explained(1)
    values = score_all(get_metrics(["adcc"]), explained)
    expected = [
        statistics.harmonic_mean([c, 1 - x, 1 - d])
        for c, x, d in zip(
            values["coherency"], values["complexity"], values["average_drop"], strict=True
        )
    ]
    np.testing.assert_allclose(values["adcc"], expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("drop", "coherency", "complexity", "expected"),
    [
        (1.0, 0.9, 0.1, 0.0),
        (0.1, 0.0, 0.1, 0.0),
        (0.1, 0.9, 1.0, 0.0),
        (1.0, 0.0, 1.0, 0.0),
        (0.0, 1.0, 0.0, 1.0),
        (0.5, 0.5, 0.5, 0.5),
        (0.0, 1e-320, 0.0, 3e-320),
    ],
)
@pytest.mark.filterwarnings("error")
def test_adcc_at_the_ends(drop, coherency, complexity, expected):
    values = {"average_drop": drop, "coherency": coherency, "complexity": complexity}
    found = ADCC().combine({k: np.array([v]) for k, v in values.items()})
    np.testing.assert_allclose(found, [expected], rtol=1e-14)


@pytest.mark.parametrize("size", [(224, 224), (7, 5), (2, 2)])
def test_fakecam_in_closed_form(size):
    """Coherency 1, complexity 1 - 1/(HW), drop 0: ADCC = 3 / (2 + HW)."""
    pixels = size[0] * size[1]
    scores = _dataset_scores(ADCC_FAMILY, _fakecam(*size))
    assert scores["coherency"] == 1
    assert scores["average_drop"] == scores["average_increase"] == 0
    assert scores["complexity"] == pytest.approx(1 - 1 / pixels, rel=1e-15)
    for name in ("adcc", "adcc_per_image"):
        assert scores[name] == pytest.approx(3 / (2 + pixels), rel=1e-10)
    if size == (224, 224):
        assert scores["adcc"] == pytest.approx(6e-5, rel=0.01)


def test_scores_of_a_dataset():
    """Plain means, but for ADCC: the harmonic mean of three means beside the mean of its own."""
    names = [*ADCC_FAMILY, "average_gain"]
    values = score_all(get_metrics(names), _explained(2))
    scores = _dataset_scores(names, _explained(2))
    assert list(scores) == [*ADCC_FAMILY, "adcc_per_image", "average_gain"]
    for name in (*ADCC_FAMILY[:4], "average_gain"):
        assert scores[name] == pytest.approx(statistics.fmean(values[name]), rel=1e-14)
    terms = [
        scores["coherency"],
        1 - scores["complexity"],
        1 - scores["average_drop"],
    ]
    assert scores["adcc"] == pytest.approx(statistics.harmonic_mean(terms), rel=1e-13)
    assert scores["adcc_per_image"] == pytest.approx(statistics.fmean(values["adcc"]), rel=1e-14)
    assert abs(scores["adcc"] - scores["adcc_per_image"]) > 0.01


def test_values_of_many_batches_equal_those_of_one():
    metrics = get_metrics(ADCC_FAMILY)
    whole = _explained(3)
    given = [f for f in whole.__dataclass_fields__ if getattr(whole, f) is not None]
    parts = [
        score_all(metrics, ExplainedBatch(*(getattr(whole, f)[rows] for f in given)))
        for rows in (slice(0, 5), slice(5, 6), slice(6, N))
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    together = score_all(metrics, whole)
    for name, column in together.items():
        np.testing.assert_array_equal(joined[name], column)


def test_scores_of_many_datasets_at_once():
    """As in a bootstrap: the means of R datasets give R scores each."""
    metrics, rng = get_metrics(["adcc", "complexity"]), np.random.default_rng(0)
    names = ["average_drop", "coherency", "complexity", "adcc"]
    means = {name: rng.random(7) for name in names}
    together = dataset_scores(metrics, means)
    for r in range(7):
        one = dataset_scores(metrics, {name: means[name][r : r + 1] for name in names})
        assert {name: column[r] for name, column in together.items()} == {
            name: column[0] for name, column in one.items()
        }


def test_images_without_a_value_do_not_count():
    found = mean_values({"iou": np.array([0.25, np.nan, 0.75]), "none": np.full(3, np.nan)})
    assert found == {"iou": np.array([0.5])}


def test_without_a_finite_value_there_are_no_scores():
    metrics = get_metrics(ADCC_FAMILY)
    nothing = {name: np.array([]) for name in ADCC_FAMILY}
    assert dataset_scores(metrics, mean_values(nothing)) == {}
    assert dataset_scores(metrics, {}) == {}


@pytest.mark.parametrize("order", [ADCC_FAMILY, ADCC_FAMILY[::-1], ["adcc"]])
def test_maps_are_compared_once_in_any_order(monkeypatch, order):
    expected, calls = score_all(get_metrics(ADCC_FAMILY), _explained(4)), []
    whole = metric_module.upsampled_similarity
    monkeypatch.setattr(
        metric_module, "upsampled_similarity", lambda *a: calls.append(1) or whole(*a)
    )
    found = score_all(get_metrics(order), _explained(4))
    assert len(calls) == 1
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


def test_small_maps_count_at_the_images_size():
    """Coherency and complexity are those of the maps upsampled, whatever the layers' sizes."""
    rng = np.random.default_rng(6)
    small = [rng.random((3, h, w), dtype=np.float32) for h, w in ((4, 5), (7, 3))]
    large = [upsample(maps, SIZE) for maps in small]
    names = ["coherency", "complexity", "entropy", "sparseness"]
    found = score_all(get_metrics(names), ExplainedBatch(np.ones(3), None, *small, size=SIZE))
    expected = score_all(get_metrics(names), ExplainedBatch(np.ones(3), None, *large))
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_adcc_alone_gives_its_parts_values_but_only_its_own_scores():
    metrics = get_metrics(["adcc"])
    values = score_all(metrics, _explained(5))
    assert set(values) == {"average_drop", "coherency", "complexity", "adcc"}
    assert list(_dataset_scores(["adcc"], _explained(5))) == ["adcc", "adcc_per_image"]
    np.testing.assert_array_equal(metrics["adcc"].score(_explained(5)), values["adcc"])


def test_needs():
    needs = {name: metric.needs for name, metric in get_metrics(PLAIN).items()}
    masked, second = MetricNeed.MASKED_SCORE, MetricNeed.SECOND_MAP
    assert needs == {
        "average_drop": {masked},
        "average_increase": {masked},
        "average_gain": {masked},
        "coherency": {second},
        "complexity": set(),
        "adcc": {masked, second},
    }


@pytest.mark.parametrize("name", PLAIN)
def test_every_value_lies_in_the_range_and_the_better_end_is_better(name):
    metric = get_metric(name)
    low, high = metric.value_range
    values = _scores(name, _explained(6))
    assert values.shape == (N,) and values.dtype == np.float64
    assert (values >= low).all() and (values <= high).all()
    assert metric.title
    good = ExplainedBatch(
        np.array([0.5]), np.array([0.6]), *[np.eye(9, dtype=np.float32)[None]] * 2
    )
    bad = ExplainedBatch(
        np.array([0.5]),
        np.array([0.1]),
        1 - np.eye(9, dtype=np.float32)[None],
        np.eye(9, dtype=np.float32)[None],
    )
    assert (_scores(name, good) > _scores(name, bad))[0] == metric.higher_is_better


@pytest.mark.parametrize("name", ["average_drop", "complexity", "coherency"])
def test_what_was_not_computed_is_named(name):
    with pytest.raises(ValueError, match=r"which was not given"):
        _scores(name, ExplainedBatch(np.ones(2)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("avg_drop", "did you mean 'average_drop'"),
        ("ADCC", "did you mean 'adcc'"),
        ("", "write name or name"),
    ],
)
def test_an_unknown_metric_names_close_ones(name, said):
    with pytest.raises(OptionError, match=said):
        get_metrics(["complexity", name])


def test_metrics_come_once_and_in_the_given_order():
    assert list(get_metrics(["adcc", "coherency", "adcc"])) == ["adcc", "coherency"]


def test_every_metric_says_what_it_is():
    for name, cls in zip(metric_names(), list_metrics(), strict=True):
        assert cls.name == name and cls.title and cls.summary and cls.__doc__
        low, high = cls.value_range
        assert low < high and isinstance(cls.higher_is_better, bool)
        assert isinstance(get_metric(name), cls)


def test_the_same_metric_twice_with_other_options():
    metrics = get_metrics(["deletion", "deletion(steps=4)"])
    scores = dataset_scores(
        metrics, {"deletion": np.array([0.5]), "deletion(steps=4)": np.array([0.25])}
    )
    assert {name: float(f[0]) for name, f in scores.items()} == {
        "deletion": 0.5,
        "deletion(steps=4)": 0.25,
    }
