"""A budget: what it gives up first, and that the run keeps to it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation import budgeted_run, evaluation_cost
from adcc_onnx.evaluation.budget import fit_budget
from adcc_onnx.evaluation.evaluation_cost import SHARED, CostPart, EvaluationCost
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.runtime.precisions import CheaperPrecision


def cost(
    images: int, anchors: int = 0, anchor_factor: float = 1.0, **seconds: float
) -> EvaluationCost:
    """What methods take that are named by their seconds per image."""
    parts = [CostPart(SHARED, "shared", 1, 0.01)]
    for name, own in seconds.items():
        kind = "metric" if name == "deletion" else "method"
        parts.append(CostPart(name, kind, round(100 * own), own))
    return EvaluationCost("net", "cpu", 8, 1, images, tuple(parts), 0, (), anchors=anchors,
                          anchor_factor=anchor_factor)  # fmt: skip


def test_nothing_is_given_up_without_need() -> None:
    choice = fit_budget([cost(100, gradcam=0.01, scorecam=4.0)], 500)
    assert (choice.methods, choice.metrics, choice.images) == ({}, {}, 100)
    assert choice.seconds == pytest.approx(402)


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
    assert choice.seconds == pytest.approx(57 * unit)


def test_anchors_are_paid_for_before_the_images() -> None:
    """20 anchors take 20 x 2.5 x 0.02 s, and each of 100 images 0.02 s: 3 s in all."""
    whole = cost(100, 20, 2.5, gradcam=0.01)
    assert whole.seconds == pytest.approx(3.0)
    assert fit_budget([whole], 3.0 / 0.9 + 0.01).images == 100
    choice = fit_budget([whole], 2.0)
    assert choice.images == 40  # 1.8 s for passes, 1 s of it for the anchors
    assert choice.seconds == pytest.approx(1.8)


def test_anchors_get_fewer_passes_too() -> None:
    choice = fit_budget([cost(100, 20, 2.0, scorecam=3.99)], 200)
    assert choice.methods == {"scorecam": "scorecam(passes=49)"}
    assert choice.images == 100
    assert choice.seconds == pytest.approx((0.01 + 3.99 / 4) * (100 + 20 * 2.0))


def test_a_budget_below_the_anchors_names_what_is_needed() -> None:
    """20 anchors in both precisions take (20 + 20 x 2.5) x 0.02 s = 1.4 s."""
    with pytest.raises(OptionError, match=r"1 s is too small for 20 anchors.*--budget 3s, fewer"):
        fit_budget([cost(100, 20, 2.5, gradcam=0.01)], 1.0)


def test_the_budget_is_shared_by_all_models() -> None:
    costs = [cost(100, gradcam=0.3), cost(100, gradcam=0.6)]
    assert fit_budget(costs, 50).images == int(45 / 0.92)


def test_a_budget_below_one_image_names_what_is_needed() -> None:
    with pytest.raises(OptionError, match=r"2 s is too small .* about 9 s: give .*--budget 11s"):
        fit_budget([cost(100, gradcam=8.99)], 2)


def test_a_run_keeps_to_its_budget_and_says_what_it_chose(tmp_path: Path) -> None:
    said: list[str] = []
    start = time.monotonic()
    result = adcc.evaluate(
        classifier_path(), "drawings:3000", ["gradcam", "rise"], ["average_drop"], device="cpu",
        budget=3.0, notify=said.append, out=tmp_path / "run.sqlite",
    )  # fmt: skip
    assert time.monotonic() - start < 60  # all of it takes over an hour
    assert "rise(masks=1000)" in result.methods and "rise" not in result.methods
    assert 1 <= result.images < 3000
    (line,) = (line for line in said if line.startswith("the budget allows"))
    chosen = result.stored_run.config["budget"]
    assert line.startswith(f"the budget allows {chosen}; ")
    assert chosen.startswith("rise(masks=1000) instead of rise, ")
    (kept,) = adcc.read_results(tmp_path / "run.sqlite")
    assert kept.stored_run.config["budget"] == chosen
    assert f"Chosen by --budget: {chosen}." in adcc.render_report(tmp_path / "run.sqlite")


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(small(), found)
    return found


FP16 = CheaperPrecision("fp16", "cpu", None, 0.25)
IMAGES = np.random.default_rng(1).standard_normal((200, 3, 8, 8)).astype(np.float32)


def evaluate(
    model: Path, monkeypatch: pytest.MonkeyPatch, methods: list[str], images: int, **options: Any
) -> tuple[adcc.EvaluationResult, str]:
    """Evaluate in the time of a number of images, as if an image took a second."""
    said: list[str] = []
    monkeypatch.setattr(evaluation_cost, "evaluation_cost", second_per_image)
    result = adcc.evaluate(
        model, IMAGES, methods, device="cpu", batch_size=8, controls=False, thumbnails=False,
        budget=images / 0.9 + 0.01, notify=said.append, **options,
    )  # fmt: skip
    return result, next(line for line in said if line.startswith("the budget allows"))


def second_per_image(
    model: adcc.Model, plan: Plan, images: int, exact: adcc.Model | None = None
) -> EvaluationCost:
    seconds = 0.25 if model.precision == "float16" else 1.0
    return replace(
        cost(images, plan.anchors, 1.0 if exact is None else 4.0),
        parts=(CostPart(SHARED, "shared", 1, seconds),),
    )


def test_methods_are_compared_in_the_time_that_is_left(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ["gradcam", "eigencam"]
    result, said = evaluate(small_model, monkeypatch, both, 20)
    assert said == "the budget allows --until certain,images=20 of 200; at most about 20 s"
    found = result.sequential
    assert found is not None and found.rule.at_most == 20 and found.population == 200
    # All of the time is used, and what is not certain then stays open.
    assert (found.images, found.stopped, result.images) == (20, True, 20)
    assert "open" in {one.verdict for one in found.standings.values()}
    longer, _ = evaluate(small_model, monkeypatch, both, 100)
    assert longer.sequential is not None and longer.sequential.images < 100
    assert "open" not in {one.verdict for one in longer.sequential.standings.values()}
    exact = adcc.evaluate(small_model, IMAGES, both, device="cpu", batch_size=8, controls=False)
    for name in both:
        low, high = result.methods[name].intervals["adcc"]
        assert low < exact.methods[name].scores["adcc"] < high


def test_a_rule_of_the_user_is_kept(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["gradcam", "eigencam"]
    given = {"until": "certain", "margin": 0.01, "alpha": 0.1}
    result, said = evaluate(small_model, monkeypatch, both, 50, **given)
    assert "--until certain,images=50 of 200" in said
    assert result.sequential is not None
    rule = result.sequential.rule
    assert (rule.margin, rule.alpha, rule.at_most) == (0.01, 0.1, 50)
    result, said = evaluate(small_model, monkeypatch, both, 50, until="width=0.2,images=30")
    assert result.sequential is not None and result.sequential.rule.at_most == 30
    result, said = evaluate(small_model, monkeypatch, both, 500, until="certain")
    assert "everything as asked; at most about" in said


def test_a_single_method_or_little_time_gets_fewer_images(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, said = evaluate(small_model, monkeypatch, ["gradcam"], 50)
    assert said == "the budget allows 50 of 200 images; about 50 s" and result.images == 50
    result, said = evaluate(small_model, monkeypatch, ["gradcam", "eigencam"], 19)
    assert "19 of 200 images" in said and result.sequential is None


def test_anchors_of_the_user_are_kept(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 anchors take 20 s in float32, so that 10 s are left for 40 images in half precision."""
    given = {"precision": "fp16", "anchor": 20}
    result, said = evaluate(small_model, monkeypatch, ["gradcam"], 30, **given)
    assert said == "the budget allows 40 of 200 images; about 30 s"
    assert result.anchors is not None and (result.images, result.anchors.images) == (40, 20)
    both = ["gradcam", "eigencam"]
    result, said = evaluate(small_model, monkeypatch, both, 30, until="certain", **given)
    assert result.anchors is not None and result.sequential is not None
    assert "--until certain,images=40 of 200" in said and result.sequential.images <= 40
    with pytest.raises(OptionError, match="too small for 20 anchors"):
        evaluate(small_model, monkeypatch, ["gradcam"], 10, **given)


def test_a_cheaper_precision_with_anchors_comes_before_fewer_images(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 images fit in float32; 20 anchors and (100 - 20) x 4 images in half precision."""
    monkeypatch.setattr(budgeted_run, "cheaper_precisions", lambda model: [FP16])
    result, said = evaluate(small_model, monkeypatch, ["gradcam"], 100)
    assert said.startswith("the budget allows float16 with 20 anchors in float32; about")
    assert result.anchors is not None and (result.images, result.anchors.images) == (200, 20)
    # A precision that the user chose is kept.
    result, said = evaluate(small_model, monkeypatch, ["gradcam"], 100, precision="fp32")
    assert result.anchors is None and result.images == 100


def test_cheaper_options_name_early_stopping_and_precisions(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_cost, "cheaper_precisions", lambda model: [FP16])
    load = {"device": "cpu", "controls": False}
    found = adcc.estimate_cost(small_model, IMAGES, ["gradcam", "eigencam"], **load)
    options = {one.option: one for one in found.cheaper}
    assert options["--until certain"].at_most
    assert options["--until certain"].seconds == pytest.approx(found.seconds)
    half = options["--precision fp16 --anchor 20"]
    assert half.seconds == pytest.approx(found.seconds * (0.25 + 20 / 200))
    one = adcc.estimate_cost(small_model, IMAGES, "gradcam", **load)
    assert "--until certain" not in [option.option for option in one.cheaper]
    stops = adcc.estimate_cost(small_model, IMAGES, ["gradcam"], until="width=0.1", **load)
    assert stops.early_stopping
    both = adcc.estimate_cost(small_model, IMAGES, "gradcam", precision="fp16", anchor=50, **load)
    assert both.anchors == 50 and both.anchor_factor > 0
    unit = sum(part.seconds for part in both.parts)
    assert both.seconds == pytest.approx(unit * (200 + 50 * both.anchor_factor))


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
    assert all(one.at_most or one.seconds < found.seconds for one in found.cheaper)


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
