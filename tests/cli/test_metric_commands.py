"""The commands about metrics, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.images.sources.given_images import as_source

MODEL = str(classifier_path())
ON_CPU = ("--device", "cpu")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_list_of_metrics() -> None:
    lines = run("metrics").stdout.splitlines()
    assert any(line.split()[:5] == ["adcc", "0", "to", "1", "↑"] for line in lines)
    assert any(line.split()[:5] == ["infidelity", "0", "to", "inf", "↓"] for line in lines)


def test_truth_maps_and_knobs_in_one_run(tmp_path: Path) -> None:
    pictures, masks, maps = (tmp_path / name for name in ("pictures", "masks", "center-ish"))
    model = adcc.load(MODEL, device="cpu")
    for folder in (pictures, masks, maps):
        folder.mkdir()
    for record in as_source("drawings:3"):
        Image.fromarray(record.load()).save(pictures / f"{record.name}.png")
        Image.fromarray(record.truth().astype(np.uint8) * 255).save(masks / f"{record.name}.png")
        path = pictures / f"{record.name}.png"
        np.save(maps / f"{record.name}.npy", adcc.explain(model, [path], "center").maps[0])
    kept = tmp_path / "run.sqlite"
    asked = ("complexity", "deletion", "iou(threshold=0.4)", "best_iou")
    shown = ("complexity", "deletion(baseline=mean, steps=4)", "iou(threshold=0.4)", "best_iou")
    metrics = [word for name in asked for word in ("--metric", name)]
    result = run(
        *("evaluate", MODEL, "--images", pictures, "--truth", masks, "--maps", maps, *ON_CPU),
        *("--method", "center", "--baseline", "mean", "--steps", "4", *metrics, "-o", kept),
    )
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(run("report", kept, "--format", "json").stdout)["runs"]
    ours, theirs = found["methods"]["center"], found["methods"]["center-ish"]
    for name in shown:
        assert 0 < ours[name] < 1
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6)


def test_images_without_truth_do_not_count_in_localization(tmp_path: Path) -> None:
    model, drawn = adcc.load(MODEL, device="cpu"), list(as_source("drawings:3"))
    x = np.stack([model.preprocessing(record.load()) for record in drawn])
    masks = np.stack([record.truth() for record in drawn])
    masks[1] = False
    np.savez(tmp_path / "all.npz", x=x, mask=masks)
    np.savez(tmp_path / "two.npz", x=x[[0, 2]], mask=masks[[0, 2]])
    three, two = (
        adcc.evaluate(model, tmp_path / f"{name}.npz", ["center"], ["best_iou", "entropy"])
        for name in ("all", "two")
    )
    best = three.methods["center"].scores["best_iou"]
    assert best == pytest.approx(two.methods["center"].scores["best_iou"], rel=1e-12)
    assert three.failed == 0 and three.methods["center"].failed == 0


def test_where_no_image_has_truth_the_run_does_not_begin() -> None:
    words = ("evaluate", MODEL, "--images", "drawings:2", *ON_CPU)
    assert run(*words, "--metric", "best_iou", "--method", "center").exit_code == 0
    model, tensors = adcc.load(MODEL, device="cpu"), np.zeros((2, 3, 112, 112), np.float32)
    metrics = ["best_iou", "adcc", "iou(threshold=0.2)"]
    with pytest.raises(OptionError, match=r"give --truth .* for best_iou, iou\(threshold=0.2\)"):
        adcc.evaluate(model, tensors, ["center"], metrics)


def test_validate_metrics(tmp_path: Path) -> None:
    words = ("validate-metrics", "--images", "drawings:8", "--method", "gradcam", "--method")
    metrics = ("--metric", "adcc", "--metric", "average_drop", *ON_CPU)
    found = json.loads(run(*words, "layercam", *metrics, "--json").stdout)
    assert found["images"] == 8 and found["against"] == "best_iou"
    assert len(found["truth"]) == 2 + 3 + 3
    by_name = {one["metric"]: one for one in found["assessments"]}
    assert by_name["adcc"]["auc"] == 1
    assert by_name["average_drop"]["fakecam_rank"] <= 2
    assert by_name["adcc"]["fakecam_rank"] >= 6
    text = run(*words, "layercam", *metrics).stdout
    assert "8 drawings; best_iou gives the true order" in text and "gradcam inverted" in text


def test_randomize() -> None:
    words = ("randomize", MODEL, "--images", "drawings:4", "--steps", "2", *ON_CPU)
    result = run(*words, "--method", "gradcam", "--method", "center")
    assert result.exit_code == 0, result.stderr
    header, _, *rows = result.stdout.splitlines()
    assert header.split() == ["randomized", "weights", "down", "to", "gradcam", "center"]
    assert len(rows) == 2 and all(row.endswith("+1.00") for row in rows)
    refused = run(*words, "--target", "label")
    assert refused.exit_code == 1 and "explains the predicted class" in refused.stderr


def test_merge(tmp_path: Path) -> None:
    for method in ("center", "random"):
        words = ("evaluate", MODEL, "--images", "drawings:2", "--method", method, *ON_CPU)
        assert run(*words, "-o", tmp_path / f"{method}.sqlite").exit_code == 0
    parts = (tmp_path / "center.sqlite", tmp_path / "random.sqlite")
    both = tmp_path / "both.sqlite"
    assert run("merge", *parts, "-o", both).exit_code == 0
    (found,) = json.loads(run("report", both, "--format", "json").stdout)["runs"]
    assert list(found["methods"]) == ["center", "random"]
    refused = run("merge", *parts, "-o", both)
    assert refused.exit_code == 1 and "exists" in refused.stderr
