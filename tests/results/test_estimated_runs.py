"""What is made of runs that only estimate their scores: stopped early, or corrected by anchors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli import main
from adcc_onnx.errors import StoreError
from adcc_onnx.report.paper_table import TableLayout, paper_tables
from adcc_onnx.report.run_exports.hub_card import model_card
from adcc_onnx.results.merging import merge_stores

N, ANCHORS = 60, 20
METHODS = ["gradcam", "eigencam"]
IMAGES = np.random.default_rng(1).standard_normal((N, 3, 8, 8)).astype(np.float32)
STOPPED: dict[str, Any] = {"until": "certain", "margin": 0.02}
ANCHORED: dict[str, Any] = {"precision": "fp16", "anchor": ANCHORS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("runs")
    onnx.save(small(), found / "net.onnx")
    for name, options in {
        "full": {},
        "stopped": STOPPED,
        "anchored": ANCHORED,
        "both": {**STOPPED, **ANCHORED},
    }.items():
        evaluate(found, f"{name}.sqlite", **options)
    return found


def evaluate(folder: Path, out: str, **options: Any) -> adcc.EvaluationResult:
    options = {"methods": METHODS, "images": IMAGES, **options}
    return adcc.evaluate(
        folder / "net.onnx", options.pop("images"), options.pop("methods"), device="cpu",
        batch_size=8, controls=False, thumbnails=False, out=folder / out, **options,
    )  # fmt: skip


def read(folder: Path, name: str) -> adcc.EvaluationResult:
    (found,) = adcc.read_results(folder / f"{name}.sqlite")
    return found


@pytest.mark.parametrize("name", ["stopped", "anchored", "both"])
def test_a_bound_on_an_estimated_score_holds_for_its_whole_interval(
    folder: Path, name: str
) -> None:
    result = read(folder, name)
    low, high = result.methods["gradcam"].intervals["adcc"]
    value = result.methods["gradcam"].scores["adcc"]
    for bound, outcome in ((low - 0.001, "passed"), (low + 0.001, "failed"), (value, "failed")):
        found = adcc.gate(folder / f"{name}.sqlite", require=f"gradcam.adcc >= {bound}")
        (check,) = found.requirements
        assert (check.outcome, check.interval) == (outcome, (low, high))
    assert adcc.gate(result, require=f"gradcam.adcc <= {high + 0.001}").passed
    assert "all of which must meet the requirement" in found.lines[0]


def test_a_run_on_all_images_is_checked_by_its_scores(folder: Path) -> None:
    result = read(folder, "full")
    value = result.methods["gradcam"].scores["adcc"]
    (check,) = adcc.gate(result, require=f"gradcam.adcc >= {value - 1e-9}").requirements
    assert (check.outcome, check.interval) == ("passed", None)
    whole = evaluate(folder, "whole.sqlite", until="width=0.001")
    assert whole.sequential is not None and whole.sequential.is_whole
    (check,) = adcc.gate(whole, require=f"gradcam.adcc >= {value - 1e-9}").requirements
    assert (check.outcome, check.interval) == ("passed", None)


def test_a_stopped_run_is_not_compared_with_a_baseline(folder: Path) -> None:
    message = r"stopped after 30 of 60 images \(--until certain\).*use --require"
    for pair in (("stopped", "full"), ("full", "stopped")):
        with pytest.raises(StoreError, match=message):
            adcc.gate(folder / f"{pair[0]}.sqlite", not_worse_than=folder / f"{pair[1]}.sqlite")
    words = ["report", str(folder / "stopped.sqlite")]
    ran = CliRunner().invoke(main, [*words, "--not-worse-than", str(folder / "full.sqlite")])
    assert ran.exit_code == 1 and "has no valid interval" in ran.output


@pytest.mark.parametrize("pair", [("anchored", "full"), ("full", "anchored"), ("anchored",) * 2])
def test_a_baseline_is_compared_in_float32(folder: Path, pair: tuple[str, str]) -> None:
    new, old = (read(folder, name) for name in pair)
    found = adcc.gate(new, not_worse_than=old).comparisons
    assert [check.outcome for check in found] == ["passed", "passed"]
    for check in found:
        assert check.difference is not None and check.difference.interval is not None
        assert check.difference.images == N
        low, high = check.difference.interval
        assert low <= 0 <= high and high - low < 1e-4


def test_a_difference_from_the_baseline_is_that_of_the_corrected_scores(folder: Path) -> None:
    base = read(folder, "anchored")
    doctored = read(folder, "full")
    for columns in doctored.stored_run.methods.values():
        columns.values["coherency"][:] -= 0.1
    (check, _) = adcc.gate(base, not_worse_than=doctored).comparisons
    assert check.difference is not None
    expected = base.methods["gradcam"].scores["adcc"] - adcc_of(doctored, "gradcam")
    assert check.difference.value == pytest.approx(expected, abs=1e-6)


def adcc_of(result: adcc.EvaluationResult, name: str) -> float:
    values = result.stored_run.methods[name].values
    drop, coherency, complexity = (
        float(np.mean(values[key])) for key in ("average_drop", "coherency", "complexity")
    )
    return 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))


def test_stopped_runs_are_not_joined(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="runs with --until cannot be joined"):
        merge_stores([folder / "stopped.sqlite"] * 2, tmp_path / "joined.sqlite")
    assert not (tmp_path / "joined.sqlite").exists()


def test_anchored_runs_are_joined_on_the_same_images(folder: Path, tmp_path: Path) -> None:
    for name in METHODS:
        evaluate(folder, f"{name}.sqlite", methods=[name], **ANCHORED)
    merge_stores([folder / f"{name}.sqlite" for name in METHODS], tmp_path / "joined.sqlite")
    (joined,) = adcc.read_results(tmp_path / "joined.sqlite")
    whole = read(folder, "anchored")
    assert joined.anchors == whole.anchors
    assert joined.methods["gradcam"].intervals == whole.methods["gradcam"].intervals
    evaluate(folder, "part.sqlite", images=IMAGES[:30], **ANCHORED)
    with pytest.raises(StoreError, match="if they have the same images"):
        merge_stores([folder / f"{n}.sqlite" for n in ("anchored", "part")], tmp_path / "x.sqlite")


def test_tables_of_papers_say_that_scores_are_estimates(folder: Path) -> None:
    anchored, stopped = read(folder, "anchored"), read(folder, "stopped")
    (table,) = paper_tables([anchored], TableLayout())
    assert any("estimates for float32" in line for line in table.legend)
    assert "estimates for float32" in model_card([anchored])
    assert "float32_anchors: 20" in model_card([anchored])
    assert "dataset_images: 60" in model_card([stopped])
    (table,) = paper_tables([stopped], TableLayout())
    assert "30 of 60 images" in table.settings


def test_intervals_lie_within_the_range_of_the_score(folder: Path) -> None:
    for name in ("stopped", "anchored", "both"):
        for method in read(folder, name).methods.values():
            assert all(0 <= low <= high <= 1 for low, high in method.intervals.values())
