"""A budget: what it gives up first, and that the run keeps to it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import adcc_onnx as adcc
from adcc_onnx.cli import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.budget import fit_budget
from adcc_onnx.evaluation.evaluation_cost import SHARED, CostPart, EvaluationCost


def cost(images: int, **seconds: float) -> EvaluationCost:
    """What methods take that are named by their seconds per image."""
    parts = [CostPart(SHARED, "shared", 1, 0.01)]
    for name, own in seconds.items():
        kind = "metric" if name == "deletion" else "method"
        parts.append(CostPart(name, kind, round(100 * own), own))
    return EvaluationCost("net", "cpu", 8, 1, images, tuple(parts), 0, ())


def test_nothing_is_given_up_without_need() -> None:
    choice = fit_budget([cost(100, gradcam=0.01, scorecam=4.0)], 500)
    assert (choice.methods, choice.metrics, choice.images) == ({}, {}, 100)
    assert choice.seconds == pytest.approx(402)
    assert choice.text(100) == "the budget allows everything as asked; about 6 min 42 s"


def test_the_most_expensive_method_gets_fewer_passes_first() -> None:
    choice = fit_budget([cost(100, gradcam=0.01, scorecam=4.0, deletion=2.24)], 400)
    assert choice.methods == {"scorecam": "scorecam(passes=50)"}  # a fourth of 400 / 2 passes
    assert choice.metrics == {} and choice.images == 100
    assert choice.seconds == pytest.approx(100 * (0.01 + 0.01 + 1.0 + 2.24))


def test_images_are_given_up_last() -> None:
    choice = fit_budget([cost(100, scorecam=4.0, deletion=2.24)], 100)
    assert choice.methods == {"scorecam": "scorecam(passes=50)"}
    assert choice.metrics == {"deletion": "deletion(steps=56)"}
    unit = 0.01 + 1.0 + 0.56
    assert choice.images == int(0.9 * 100 / unit)
    assert choice.text(100) == (
        "the budget allows scorecam(passes=50) instead of scorecam, deletion(steps=56) instead of "
        "deletion, 57 of 100 images; about 1 min 29 s"
    )


def test_the_budget_is_shared_by_all_models() -> None:
    costs = [cost(100, gradcam=0.3), cost(100, gradcam=0.6)]
    assert fit_budget(costs, 50).images == int(45 / 0.92)


def test_a_budget_below_one_image_names_what_is_needed() -> None:
    with pytest.raises(OptionError, match=r"2 s is too small .* about 9\.0 s: give .*--budget 11s"):
        fit_budget([cost(100, gradcam=8.99)], 2)


def test_a_run_keeps_to_its_budget_and_says_what_it_chose() -> None:
    said: list[str] = []
    start = time.monotonic()
    result = adcc.evaluate(
        classifier_path(), "drawings:3000", ["gradcam", "rise"], ["average_drop"], device="cpu",
        budget=3.0, notify=said.append,
    )  # fmt: skip
    assert time.monotonic() - start < 60  # all of it takes over an hour
    assert "rise(masks=1000)" in result.methods and "rise" not in result.methods
    assert 1 <= result.images < 3000
    assert any("the budget allows rise(masks=1000) instead of rise" in line for line in said)


def test_a_budget_cannot_be_resumed() -> None:
    with pytest.raises(OptionError, match="to resume or to use a cluster"):
        adcc.evaluate(
            classifier_path(), "drawings:2", "gradcam", out="x.sqlite", resume=True, budget="1m"
        )


def test_the_estimate_counts_the_passes_of_the_run() -> None:
    found = adcc.estimate_cost(
        classifier_path(), "drawings:40", ["gradcam", "rise(masks=200)"],
        ["adcc", "deletion(steps=5)"], controls=False, device="cpu",
    )  # fmt: skip
    passes = {part.name: part.passes for part in found.parts}
    # ADCC repeats the method on the explanation map: its own run and 200 masks once more.
    assert passes == {SHARED: 1, "gradcam": 1, "rise(masks=200)": 401, "deletion(steps=5)": 12}
    assert found.images == 40 and found.passes == 415
    options = [one.option for one in found.cheaper]
    assert "--limit 10 --sample random" in options
    assert "--method 'rise(masks=50)'" in options
    assert all(one.seconds < found.seconds for one in found.cheaper)


@pytest.mark.parametrize("width", [80, 120])
def test_a_dry_run_prints_the_price_and_writes_nothing(tmp_path: Path, width: int) -> None:
    out = tmp_path / "run.sqlite"
    words = ["evaluate", str(classifier_path()), "--images", "drawings:40", "--device", "cpu"]
    words += ["--method", "gradcam", "--method", "rise(masks=10)", "--dry-run", "-o", str(out)]
    ran = CliRunner().invoke(main, words, env={"COLUMNS": str(width)})
    assert ran.exit_code == 0, ran.output
    for text in ("all methods together", "passes per image", "memory at least", "Cheaper:"):
        assert text in ran.stdout
    assert not out.exists()


def test_a_dry_run_measures_once_what_a_budget_allows() -> None:
    words = ["evaluate", str(classifier_path()), "--images", "drawings:4", "--method", "gradcam"]
    done = CliRunner().invoke(main, [*words, "--device", "cpu", "--budget", "1h", "--dry-run"])
    allowed = done.stderr.split("as asked; about ")[1].splitlines()[0]
    assert f"in all: about {allowed};" in done.stdout
