"""Runs that stop when the best method is certain: the same wherever and however they run."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.command_line import evaluation, report_of
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.api.evaluating import evaluate_models
from adcc_onnx.cli import main
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation import pipeline
from adcc_onnx.evaluation.run_options import PlanOptions, SourceOptions
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.model import Model
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store

N = 120
IMAGES = np.random.default_rng(1).standard_normal((N, 3, 8, 8)).astype(np.float32)
METHODS = ["gradcam", "eigencam", "scorecam"]
USED = 60  # images until the best method is certain


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(small(), path)
    return adcc.load(path, device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def whole(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an uninterrupted run."""
    path = tmp_path_factory.mktemp("runs") / "whole.sqlite"
    evaluate(model, path)
    return path


def evaluate(model: Model, path: Path | None = None, **options: Any) -> adcc.EvaluationResult:
    options = {"until": "certain", "thumbnails": False, **options}
    return adcc.evaluate(model, IMAGES, METHODS, out=path, resume=path is not None, **options)


def as_json(path: Path) -> str:
    with Store.open(path) as store:
        return render([store], "json")


def test_the_values_are_those_of_a_full_run_on_fewer_images(model: Model, whole: Path) -> None:
    (found,), full = adcc.read_results(whole), evaluate(model, until=None)
    sequential = found.sequential
    assert sequential is not None and full.sequential is None
    assert found.complete and sequential.stopped
    assert (found.images, sequential.images, sequential.population) == (USED, USED, N)
    assert sequential.leader == found.ranking.best == full.ranking.best == "scorecam"
    assert {name: one.verdict for name, one in sequential.standings.items()} == {
        "scorecam": "best", "gradcam": "worse", "eigencam": "worse",
        "center": "better", "random": "worse",
    }  # fmt: skip
    assert full.methods["center"].scores["adcc"] > full.methods["scorecam"].scores["adcc"]
    values = {(row["image"], row["method"]): row for row in full.per_image(as_dataframe=False)}
    computed = skipped = 0
    for row in found.per_image(as_dataframe=False):
        if row["failure"] is None:
            expected = values[row["image"], row["method"]]["adcc"]
            assert row["adcc"] == pytest.approx(expected, abs=1e-6)
            computed += 1
        else:
            assert row["failure"].startswith("not computed") and row["adcc"] is None
            skipped += 1
    counts = {name: one.images for name, one in sequential.standings.items()}
    assert counts["scorecam"] == USED and counts["eigencam"] < USED
    assert (computed, skipped) == (sum(counts.values()), 5 * USED - sum(counts.values()))
    truth = full.methods["scorecam"].scores["adcc"]
    low, high = found.methods["scorecam"].intervals["adcc"]
    assert low < truth < high


@pytest.mark.parametrize("batch", [1, 7])
def test_the_batch_size_does_not_change_when_a_run_stops(
    model: Model, whole: Path, tmp_path: Path, batch: int
) -> None:
    other = model.with_settings(batch, 0, 2)
    evaluate(other, tmp_path / "other.sqlite")
    assert as_json(tmp_path / "other.sqlite") == as_json(whole)


def test_interrupted_anywhere_and_resumed(
    model: Model, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, computed, limits = tmp_path / "run.sqlite", [], [1, 110, 190, 10_000]
    batch = pipeline.evaluate_batch

    class CutOffError(Exception):
        pass

    def counted(model, plan, group):
        for rows in batch(model, plan, group):
            computed.extend((row.position, row.method) for row in rows[1])
            yield rows
            if len(computed) >= limits[0]:
                raise CutOffError

    monkeypatch.setattr(pipeline, "evaluate_batch", counted)
    while len(limits) > 1:
        with pytest.raises(CutOffError):
            evaluate(model, path)
        limits.pop(0)
        with Store.open(path) as store:
            render([store], "table")
    evaluate(model, path)
    assert len(computed) == len(set(computed))
    assert as_json(path) == as_json(whole)
    computed.clear()
    evaluate(model, path)
    assert not computed


def test_methods_that_are_worse_are_not_run_any_more(model: Model) -> None:
    def run(**options: Any) -> tuple[RunTracker, adcc.EvaluationResult]:
        plan = PlanOptions(METHODS, until="certain", thumbnails=False, **options)
        (result,) = evaluate_models([model], SourceOptions(IMAGES), plan, {}, bar=watch)
        return trackers[-1], result

    def watch(tracker: RunTracker) -> AbstractContextManager[None]:
        trackers.append(tracker)
        return nullcontext()

    trackers: list[RunTracker] = []
    fewer, found = run()
    more, kept = run(keep_all=True)
    assert fewer.snapshot().passes < more.snapshot().passes
    assert fewer.total == more.total == found.images == kept.images == USED
    assert found.sequential is not None and kept.sequential is not None
    assert {one.images for one in kept.sequential.standings.values()} == {USED}
    assert min(one.images for one in found.sequential.standings.values()) < USED


def test_until_a_width(model: Model) -> None:
    found, exact = evaluate(model, until="width=0.2"), evaluate(model, until="width=1e-9")
    assert found.images < exact.images == N
    for result, width in ((found, 0.2), (exact, 1e-9)):
        ends = [result.methods[name].intervals["adcc"] for name in METHODS]
        assert max(high - low for low, high in ends) <= width
        assert {one.images for one in result.sequential.standings.values()} == {result.images}
    score = exact.methods["gradcam"].scores["adcc"]
    assert exact.methods["gradcam"].intervals["adcc"] == pytest.approx((score, score))


def test_two_models_stop_independently(model: Model, tmp_path: Path) -> None:
    onnx.save(small("softmax"), tmp_path / "other.onnx")
    other = adcc.load(tmp_path / "other.onnx", device="cpu", batch_size=4)
    plan = PlanOptions(["gradcam", "eigencam"], until="certain", thumbnails=False)
    found = evaluate_models([model, other], SourceOptions(IMAGES), plan, {})
    alone = evaluate_models([other], SourceOptions(IMAGES), plan, {})
    assert [one.model for one in found] == ["net", "other"]
    assert found[1].sequential == alone[0].sequential


@pytest.mark.parametrize(
    ("methods", "metrics", "options", "message"),
    [
        ("gradcam", (), {"controls": False}, "there is only one: give a second --method"),
        (METHODS, "infidelity", {}, "give --margin in its own unit"),
        (METHODS, "adcc", {"margin": 1.5}, "every method would be equivalent"),
        (METHODS, (), {"margin": 0}, "--margin must be above 0"),
        (METHODS, (), {"until": "width=0.1", "keep_all": True}, "--keep-all belongs"),
    ],
)
def test_options_that_do_not_fit(
    model: Model, methods: Any, metrics: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        adcc.evaluate(model, IMAGES, methods, metrics, **{"until": "certain", **options})


def test_a_run_is_not_continued_under_another_rule(model: Model, whole: Path) -> None:
    for options in ({"until": None}, {"margin": 0.01}):
        with pytest.raises(adcc.AdccError, match="holds a run made differently"):
            evaluate(model, whole, **options)


def test_reports_show_verdicts(whole: Path) -> None:
    with Store.open(whole) as store:
        table, csv, page = (render([store], style) for style in ("table", "csv", "html"))
        found = json.loads(render([store], "json"))["runs"][0]["stopping"]
    assert "net · 60 of 120 images" in table
    assert "Stopped after 60 of 120 images (--until certain)" in table
    assert "with an error probability of 5 % for all verdicts together" in table
    assert "images_of_method,images_of_dataset" in csv and ",best,60,120" in csv
    assert "Score-CAM is certainly the best method" in page
    assert "60 of the 120 images were used, in random order." in page
    assert (found["used_images"], found["images"], found["leader"]) == (60, 120, "scorecam")
    gradcam = found["methods"]["gradcam"]
    assert gradcam["verdict"] == "worse" and gradcam["interval"][1] < 0
    compared = CliRunner().invoke(main, ["report", str(whole), "--compare"])
    assert "A run stopped early (--until)" in compared.output


def test_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    words = [*evaluation(60)[:6], "--method", "gradcam", "--method", "fakecam", "--no-thumbnails"]
    done = CliRunner().invoke(main, [*words, "--until", "certain", "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert " of 60 images" in done.output
    assert '"verdict": "best"' in report_of(path)
    wrong = CliRunner().invoke(main, [*words, "--margin", "0.1"])
    assert wrong.exit_code != 0
    assert "--margin needs --until certain" in wrong.output
