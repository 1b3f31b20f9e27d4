"""`adcc-onnx benchmark` counts the passes that the definitions need."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.images.sources.open_images import open_arrays
from adcc_onnx.report.diagnosis_report import instruction_sets_text
from adcc_onnx.runtime.instruction_sets import instruction_sets
from adcc_onnx.studies.throughput import deviations, measure_throughput, random_images

LIVE = 4  # channels of the small model


@pytest.mark.parametrize(
    ("methods", "metrics", "passes"),
    [
        # 1 + M forward and backward passes: the first is shared.
        (["gradcam"], ["adcc"], {"gradients": 2}),
        # The maps of these are equal on the small model, and share the second one, too.
        (["gradcam", "layercam", "xgradcam"], ["adcc"], {"gradients": 2}),
        (["gradcam"], ["average_drop"], {"gradients": 1, "forward": 1}),
        # 2 (C + 1): the image and its channels, and the same for the explanation map.
        (["scorecam"], ["adcc"], {"activations": 2, "masked": 2 * LIVE}),
        (["center"], ["deletion(steps=10)"], {"forward": 1, "ranked": 11}),
        # One pass per removed channel, and one on the unchanged layer.
        (["ablationcam"], ["complexity"], {"activations": 1, "suffix": LIVE + 1}),
    ],
)
def test_passes_per_image(
    tmp_path: Path, methods: list[str], metrics: list[str], passes: dict[str, float]
) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    model = adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=4)
    found = measure_throughput(
        model, random_images(model, 6), make_plan(methods, metrics), rounds=1
    )
    assert found.passes == pytest.approx(passes)
    assert found.images == 6 and found.batch == 4
    assert found.ratio == pytest.approx(found.images_per_second / found.limit)
    assert found.run > 0 and found.kernels > 0 and found.store > 0 and found.decode > 0
    assert found.peak_memory > 2**20


def test_the_command(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    words = ["benchmark", str(tmp_path / "net.onnx"), "--limit", "4", "--rounds", "1"]
    words += ["--device", "cpu", "--batch-size", "2"]
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert found["methods"] == ["gradcam"] and found["passes"] == {"gradients": 2}
    assert found["instruction_sets"] == instruction_sets()
    lines = CliRunner().invoke(main, words).stdout.splitlines()
    assert lines[1] == f"instruction sets  {instruction_sets_text(instruction_sets())}"
    assert lines[3].split() == ["passes", "per", "image", "2", "gradients"]


def test_half_precision_is_measured_against_float32(tmp_path: Path) -> None:
    """The differences equal those of separate evaluations of each image."""
    onnx.save(small(), tmp_path / "net.onnx")
    half, whole = (
        adcc.load(tmp_path / "net.onnx", device="cpu", precision=p) for p in ("fp16", "fp32")
    )
    images = np.random.default_rng(1).standard_normal((3, 3, 8, 8)).astype(np.float32)
    found = deviations(half, whole, open_arrays(images, None), make_plan(["gradcam"]))["gradcam"]
    for metric, (mean, most) in found.items():
        pairs = [
            [
                adcc.evaluate(m, image[None], ["gradcam"]).methods["gradcam"].scores[metric]
                for m in (half, whole)
            ]
            for image in images
        ]
        apart = np.abs(np.subtract(*np.transpose(pairs)))
        assert (mean, most) == pytest.approx((apart.mean(), apart.max()), abs=1e-12)
    assert 0 < found["coherency"][1] < 1e-2


def test_the_command_reports_the_deviation(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    words = ["benchmark", str(tmp_path / "net.onnx"), "--limit", "4", "--rounds", "1"]
    words += ["--device", "cpu", "--batch-size", "2", "--precision", "fp16"]
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert found["precision"] == "float16"
    mean, most = found["deviation"]["gradcam"]["coherency"]
    assert 0 < mean <= most < 1e-2
    assert "float16 minus float32  gradcam, adcc:" in CliRunner().invoke(main, words).stdout
