"""Scores of stored runs, and their rendering in each format."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.stored_runs import CONFIG, METRICS, three_methods, write_run
from scipy import stats

from adcc_onnx.errors import OptionError
from adcc_onnx.metrics.metric_registry import get_metrics
from adcc_onnx.report.rendering import FORMATS, render, render_failures
from adcc_onnx.report.score_text import column_heading, format_interval, format_score, score_title
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.evaluation_result import summarize_run
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.score_definitions import scores_of
from adcc_onnx.results.store import Store
from adcc_onnx.statistics.resampling import Resampling

DROPS, COHERENCIES, COMPLEXITIES = (0.1, 0.3), (0.9, 0.7), (0.2, 0.4)
HOSTILE = "<script>alert(1)</script>&\"'\x1b]0;x\x07\n_%$#{}~^\\input{x}"


def adcc(drop: float, coherency: float, complexity: float) -> float:
    return 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))


@pytest.fixture
def store() -> Store:
    store = Store.create(None)
    run = store.begin(CONFIG)
    images = [ImageRow(i, f"{i}.png", 1, 1, 1 - i, 0.5, None) for i in range(2)]
    images.append(ImageRow(2, "bad\x1b[31m.png", None, None, None, None, "bad.png: cut short"))
    scores = []
    for i, (drop, coherency, complexity) in enumerate(
        zip(DROPS, COHERENCIES, COMPLEXITIES, strict=True)
    ):
        value = adcc(drop, coherency, complexity)
        values = dict(zip(METRICS, (drop, float(i), coherency, complexity, value), strict=True))
        scores.append(ScoreRow(i, "gradcam", i == 1, None, values, 0.002))
    zero = dict.fromkeys(METRICS, 0.0)
    scores.append(ScoreRow(0, "fakecam", False, None, zero, 2.0))
    scores.append(ScoreRow(1, "fakecam", False, "the map holds NaN", {}))
    store.write(run, images, scores)
    store.finish(run)
    return store


@pytest.fixture
def curved() -> Store:
    """Return a run of two methods with hostile names, and curves."""
    store = Store.create(None)
    methods = [HOSTILE, "[gradcam*"]
    run = store.begin({**CONFIG, "model": HOSTILE, "methods": methods, "metrics": ["deletion"]})
    images = [ImageRow(i, f"{i}{HOSTILE}", None, 1, 1, 0.5, None) for i in range(3)]
    images.append(ImageRow(3, HOSTILE, None, None, None, None, HOSTILE))
    rng = np.random.default_rng(0)
    scores = [
        ScoreRow(i, m, False, None, {"deletion": rng.random()}, 0.1, {"deletion": rng.random(5)})
        for m in methods
        for i in range(3)
    ]
    store.write(run, images, scores)
    return store


def test_json_holds_the_scores_as_fractions(store: Store) -> None:
    (run,) = json.loads(render([store], "json"))["runs"]
    assert (run["images"], run["failed"], run["top1"]) == (3, 1, 0.5)
    found = run["methods"]["gradcam"]
    assert found["average_drop"] == pytest.approx(0.2)
    assert found["average_increase"] == 0.5
    assert found["coherency"] == pytest.approx(0.8)
    assert found["complexity"] == pytest.approx(0.3)
    assert found["adcc"] == pytest.approx(adcc(0.2, 0.8, 0.3))
    each = [adcc(*v) for v in zip(DROPS, COHERENCIES, COMPLEXITIES, strict=True)]
    assert found["adcc_per_image"] == pytest.approx(np.mean(each))
    assert (found["degenerate"], found["failed"]) == (1, 0)
    assert run["methods"]["fakecam"]["failed"] == 1
    assert "time" not in json.dumps(run) and "seconds" not in json.dumps(run)
    assert render([store], "json") == render([store], "json")


def test_every_score_has_the_confidence_interval_of_scipy() -> None:
    store = Store.create(None)
    values = three_methods(60)
    # One method misses an image; one metric has no value for another.
    run = write_run(store, values)
    stored = store.run(run)
    short = stored.methods["good"]
    stored.methods["good"] = replace(
        short,
        positions=short.positions[1:],
        values={name: column[1:].copy() for name, column in short.values.items()},
    )
    summary = summarize_run(stored, resampling=Resampling(replicates=20_000))

    def of_means(drop: np.ndarray, coherency: np.ndarray, complexity: np.ndarray) -> np.ndarray:
        return stats.hmean([c.mean(axis=-1) for c in (1 - drop, coherency, 1 - complexity)], axis=0)

    for name, columns in (("bad", values["bad"]), ("good", values["good"][:, 1:])):
        found = summary.methods[name]
        assert found.intervals.keys() == found.scores.keys() == {*METRICS, "adcc_per_image"}
        wanted = stats.bootstrap(
            tuple(columns),
            lambda *c, axis: of_means(*c),
            paired=True,
            n_resamples=20_000,
            rng=np.random.default_rng(1),
        ).confidence_interval
        off = 0.05 * (wanted.high - wanted.low)
        assert found.intervals["adcc"] == pytest.approx(tuple(wanted), abs=off)
        wanted = stats.bootstrap(
            (columns[0],), np.mean, n_resamples=20_000, rng=np.random.default_rng(1)
        ).confidence_interval
        off = 0.05 * (wanted.high - wanted.low)
        assert found.intervals["average_drop"] == pytest.approx(tuple(wanted), abs=off)
        assert found.intervals["average_increase"] == (0.0, 0.0)


def test_json_and_csv_hold_the_intervals() -> None:
    store = Store.create(None)
    write_run(store, three_methods(40))
    (run,) = json.loads(render([store], "json"))["runs"]
    for row in csv.DictReader(io.StringIO(render([store], "csv"))):
        found = run["methods"][row["method"]]
        for score, (low, high) in found["interval"].items():
            assert low <= found[score] <= high
            assert (float(row[f"{score}_low"]), float(row[f"{score}_high"])) == (low, high)
    best, rival, _ = run["ranking"]["order"]
    assert {best, rival} == {"good", "alike"}
    assert run["ranking"]["not_significantly_worse"] == [rival]
    assert run["statistics"]["confidence"] == 0.95 and run["statistics"]["seed"] == 0
    narrow = json.loads(render([store], "json", Resampling(confidence=0.5)))["runs"][0]
    (wide, thin) = (np.ptp(r["methods"]["good"]["interval"]["adcc"]) for r in (run, narrow))
    assert thin < 0.5 * wide


def test_csv_has_one_row_per_method(store: Store) -> None:
    rows = list(csv.DictReader(io.StringIO(render([store], "csv"))))
    assert [row["method"] for row in rows] == ["gradcam", "fakecam"]
    assert float(rows[0]["adcc"]) == pytest.approx(adcc(0.2, 0.8, 0.3))
    assert (rows[0]["images"], rows[0]["failed"], rows[1]["failed_by_method"]) == ("3", "1", "1")
    assert rows[1]["adcc_low"] == ""


def test_the_table_ranks_in_percent_and_names_failures(store: Store) -> None:
    table = render([store], "table")
    lines = table.splitlines()
    assert "net · 3 images · layer features" in lines[0]
    assert "1 failed" in lines[0] and "top-1 50.0 %" in lines[0]
    assert lines[3].split()[:2] == ["gradcam", "20.0"] and lines[4].startswith("fakecam")
    assert lines[3].endswith("2 ms") and lines[4].endswith("2 s")
    assert "failed: bad\\x1b[31m.png: bad.png: cut short" in table
    assert "failed: 1.png (fakecam): the map holds NaN" in table
    assert "\x1b" not in table


def test_methods_not_significantly_different_from_the_best_are_marked() -> None:
    store = Store.create(None)
    write_run(store, three_methods(80))
    lines = render([store], "table").splitlines()
    good, alike, bad = (next(li for li in lines if li.startswith(n)) for n in ("go", "al", "bad"))
    assert lines.index(bad) == 5 and {lines.index(good), lines.index(alike)} == {3, 4}
    assert ("≈" in lines[3], "≈" in lines[4], "≈" in bad) == (False, True, False)
    assert f"≈: not significantly different from the best, {lines[3].split()[0]}" in lines[7]


def test_one_image_has_no_interval_and_says_so() -> None:
    store = Store.create(None)
    write_run(store, three_methods(1))
    table = render([store], "table")
    assert "[" not in table.splitlines()[3]
    assert "Fewer than two images count in ADCC: no confidence intervals" in table
    (run,) = json.loads(render([store], "json"))["runs"]
    assert all(method["interval"] == {} for method in run["methods"].values())


def test_an_unfinished_run_says_so() -> None:
    store = Store.create(None)
    store.begin(CONFIG)
    table = render([store], "table")
    assert "--resume" in table and "gradcam" in table
    (run,) = json.loads(render([store], "json"))["runs"]
    nothing = {"degenerate": 0, "failed": 0, "interval": {}, "curves": {}}
    assert run["methods"]["gradcam"] == nothing and run["ranking"] is None


def test_a_score_that_no_image_has_is_absent() -> None:
    store = Store.create(None)
    run = store.begin({**CONFIG, "metrics": ["complexity", "pointing_game"]})
    store.write(
        run,
        [ImageRow(i, f"{i}.png", None, 1, 1, 0.5, None) for i in range(4)],
        [ScoreRow(i, "gradcam", False, None, {"complexity": 0.1 * i}) for i in range(4)]
        + [ScoreRow(i, "fakecam", False, None, {"complexity": 1.0}) for i in range(4)],
    )
    found = json.loads(render([store], "json"))["runs"][0]["methods"]["gradcam"]
    assert "complexity" in found and "pointing_game" not in found
    # The first metric ranks without ADCC: lower is better here.
    lines = render([store], "table").splitlines()
    assert lines[3].startswith("gradcam") and lines[4].startswith("fakecam")


def test_formatting_of_numbers() -> None:
    scores = scores_of(get_metrics(["adcc", "infidelity", "passes", "road", "deletion(steps=8)"]))
    assert list(scores)[:3] == ["adcc", "adcc_per_image", "infidelity"]
    assert format_score(scores["adcc"], 0.6834) == "68.3"
    assert format_score(scores["adcc"], None) == "-"
    assert format_score(scores["road"], -0.0001) == "0.0"
    assert format_score(scores["road"], -0.2, "+") == "-20.0"
    assert format_score(scores["infidelity"], 0.0012345) == "0.00123"
    assert format_score(scores["passes"], 4001.0) == "4001"
    assert format_score(scores["passes"], 1.0) == "1"
    assert column_heading(scores["deletion(steps=8)"]) == "Deletion(steps=8) ↓"
    assert score_title(scores["adcc_per_image"]) == "ADCC per image"
    assert format_interval(scores["adcc"], (0.1, 0.25)) == "[10.0, 25.0]"


def test_an_unknown_format_names_the_closest_one(store: Store) -> None:
    with pytest.raises(OptionError, match="did you mean 'json'"):
        render([store], "jsn")


def test_every_failure_is_listed(store: Store, curved: Store) -> None:
    rows = list(csv.DictReader(io.StringIO(render_failures([store], "csv"))))
    assert [row["image"] for row in rows] == ["bad\\x1b[31m.png", "1.png"]
    assert rows[1]["method"] == "fakecam" and rows[1]["reason"] == "the map holds NaN"
    listed = json.loads(render_failures([store, curved], "json"))["failures"]
    assert len(listed) == 3 and listed[0]["method"] is None and listed[2]["image"] == HOSTILE
    table = render_failures([store, curved], "table")
    assert len(table.splitlines()) == 5 and "\x1b" not in table and "cut short" in table
    clean = Store.create(None)
    write_run(clean, three_methods(3))
    assert render_failures([clean], "table") == "Nothing failed.\n"
    with pytest.raises(OptionError, match="failures have no format 'html'"):
        render_failures([clean], "html")


def test_latex_escapes_names(curved: Store) -> None:
    text = render([curved], "latex")
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert body[0] == r"\begin{tabular}{lr}" and body[-1] == r"\end{tabular}"
    assert [line for line in body if line.endswith("rule")] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    assert r"\textbackslash{}input\{x\}" in text and r"\_\%\$\#\{\}" in text
    assert r"{[gradcam*} & " in text and r"Deletion $\downarrow$" in text
    assert all(line.count(" & ") == 1 for line in body if line.endswith(r"\\"))


@pytest.mark.parametrize("style", FORMATS)
def test_no_name_controls_a_terminal(curved: Store, style: str) -> None:
    assert not any(c < " " and c != "\n" for c in render([curved], style))


def test_control_characters_are_written_out() -> None:
    assert safe("a\x1b]0;title\x07\u202eb\n") == "a\\x1b]0;title\\x07\\u202eb\\n"
    assert safe("tench, Tinca · é 犬") == "tench, Tinca · é 犬"


def test_csv_marks_controls_ties_and_methods_no_better_than_a_control() -> None:
    store = Store.create(None)
    values = three_methods(40)
    write_run(store, {**values, "copy": values["good"]}, controls=["copy"])
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(render([store], "csv")))}
    assert [name for name in rows if rows[name]["is_control"] == "True"] == ["copy"]
    # A control as good as the best: no method is significantly better than it.
    assert all(rows[name]["not_better_than_control"] == "True" for name in values)
    assert rows["copy"]["not_better_than_control"] == ""
    assert rows["bad"]["not_significantly_worse"] == "False"
    few = Store.create(None)
    write_run(few, three_methods(3))
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(render([few], "csv")))}
    assert {row["not_significantly_worse"] for row in rows.values()} == {""}
