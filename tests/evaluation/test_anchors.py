"""Anchors: images in float32 correct the scores of a cheaper precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli import main
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation import pipeline
from adcc_onnx.images.sources.subsampling import shuffle_key
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store

N, ANCHORS = 60, 15
IMAGES = np.random.default_rng(1).standard_normal((N, 3, 8, 8)).astype(np.float32)
METHODS = ["gradcam", "eigencam"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(small(), found)
    return found


def evaluate(path: Path, out: Path | None = None, **options: Any) -> adcc.EvaluationResult:
    options = {"precision": "fp16", "anchor": ANCHORS, "thumbnails": False, **options}
    return adcc.evaluate(
        path, IMAGES, METHODS, out=out, resume=out is not None, device="cpu", batch_size=8,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("runs") / "run.sqlite"
    evaluate(path, found)
    return found


def test_the_scores_are_those_of_half_precision_plus_a_correction(path: Path, whole: Path) -> None:
    (found,) = adcc.read_results(whole)
    cheap, exact = (evaluate(path, anchor=None, precision=p) for p in ("fp16", "fp32"))
    anchors = found.anchors
    assert anchors is not None and cheap.anchors is None
    assert (found.images, anchors.images, anchors.precision) == (N, ANCHORS, "float16")
    for name in METHODS:
        method = found.methods[name]
        for score, value in method.scores.items():
            assert anchors.cheap[name][score] == pytest.approx(cheap.methods[name].scores[score])
            correction = anchors.corrections[name][score]
            assert value == pytest.approx(anchors.cheap[name][score] + correction)
        low, high = method.intervals["adcc"]
        assert low < exact.methods[name].scores["adcc"] < high
        # Half precision moves these scores by less than a hundredth of a point.
        assert abs(anchors.corrections[name]["complexity"]) < 1e-3
    assert found.ranking.order == exact.ranking.order


def test_anchors_are_random_images_in_float32(path: Path, whole: Path) -> None:
    exact = evaluate(path, anchor=None, precision="fp32")
    values = {(r["image"], r["method"]): r["adcc"] for r in exact.per_image(as_dataframe=False)}
    with Store.open(whole) as store:
        (run,) = store.runs()
        assert run.anchors is not None
        names = store.image_names(run.anchors.number)
    order = sorted(store_names(exact), key=lambda name: shuffle_key(name, 0))
    assert set(names.values()) == set(order[:ANCHORS])
    for name in METHODS:
        columns = run.anchors.methods[name]
        for position, value in zip(columns.positions, columns.values["adcc"], strict=True):
            assert value == pytest.approx(values[names[int(position)], name], abs=1e-6)


def store_names(result: adcc.EvaluationResult) -> list[str]:
    return [row.name for row in result.image_rows]


def test_an_interrupted_run_is_resumed(
    path: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, computed, limits = pipeline.evaluate_batch, [], [40, 270]

    class CutOffError(Exception):
        pass

    def counted(model, plan, group):
        for rows in batch(model, plan, group):
            computed.extend((plan.is_anchor, row.position, row.method) for row in rows[1])
            yield rows
            if limits and len(computed) >= limits[0]:
                limits.pop(0)
                raise CutOffError

    monkeypatch.setattr(pipeline, "evaluate_batch", counted)
    for _ in range(2):
        with pytest.raises(CutOffError):
            evaluate(path, tmp_path / "run.sqlite")
    evaluate(path, tmp_path / "run.sqlite")
    assert len(computed) == len(set(computed)) == 4 * (N + ANCHORS)
    reports = []
    for file in (whole, tmp_path / "run.sqlite"):
        with Store.open(file) as store:
            reports.append(render([store], "json"))
    assert reports[0] == reports[1]


def test_verdicts_of_early_stopping_are_about_float32(path: Path) -> None:
    """They need more images than those about half precision, whose correction is not known."""
    cheap = evaluate(path, anchor=None, until="certain", margin=0.02)
    found = evaluate(path, anchor=40, until="certain", margin=0.02)
    assert found.sequential is not None and cheap.sequential is not None
    assert found.sequential.images > cheap.sequential.images
    exact = evaluate(path, anchor=None, precision="fp32")
    for name in METHODS:
        low, high = found.methods[name].intervals["adcc"]
        assert low < exact.methods[name].scores["adcc"] < high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchor": 61}, "at most 60 images.*give --precision fp32 and no --anchor"),
        ({"anchor": 3}, "at least 10 anchors"),
        ({"precision": "fp32"}, "evaluated in float32 already.*--precision fp16"),
    ],
)
def test_options_that_do_not_fit(path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        evaluate(path, **options)


def test_a_loaded_model_has_no_second_precision(path: Path) -> None:
    model = adcc.load(path, device="cpu", precision="fp16")
    with pytest.raises(OptionError, match="give its path"):
        adcc.evaluate(model, IMAGES, METHODS, anchor=ANCHORS)


def test_reports_and_the_command_line(path: Path, whole: Path, tmp_path: Path) -> None:
    with Store.open(whole) as store:
        table, page = render([store], "table"), render([store], "html")
        found = json.loads(render([store], "json"))["runs"]
    assert len(found) == 1
    assert found[0]["anchors"]["images"] == ANCHORS
    assert set(found[0]["anchors"]["methods"]["gradcam"]) == {"uncorrected", "correction"}
    for text in (table, page):
        assert "ADCC in float16" in text and "correction" in text
        assert f"corrected by the differences on {ANCHORS} random images" in text
    compared = CliRunner().invoke(main, ["report", str(whole), "--compare"])
    assert "These are scores in the cheaper precision" in compared.output
    np.savez(tmp_path / "images.npz", x=IMAGES[:20])
    words = ["evaluate", str(path), "--images", str(tmp_path / "images.npz"), "--device", "cpu"]
    words += ["--method", "gradcam", "--no-controls", "-o", str(tmp_path / "run.sqlite")]
    done = CliRunner().invoke(main, [*words, "--precision", "fp16", "--anchor", "12"])
    assert done.exit_code == 0, done.output
    assert "12 random images that were also evaluated in float32" in done.output
    wrong = CliRunner().invoke(main, [*words, "--precision", "fp16", "--anchor", "50"])
    assert wrong.exit_code == 1
    assert "at most 20 images, the size of the dataset" in wrong.output
