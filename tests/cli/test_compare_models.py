"""`adcc-onnx compare-models`: what it prints, and the exit statuses of the gate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.small_models import small
from onnx import numpy_helper

from adcc_onnx.cli.command_group import main


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a copy, one with another kernel, one without gradients, and images."""
    path = tmp_path_factory.mktemp("models")
    for name in ("net", "copy"):
        onnx.save(small(), path / f"{name}.onnx")
    other = small()
    kernel = other.graph.initializer[0]
    values = (numpy_helper.to_array(kernel) + np.float32(0.3)).astype(np.float32)
    kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
    onnx.save(other, path / "other.onnx")
    head = """flat = Flatten (pooled) y = Gemm <transB = 1> (flat, weights)
        big = Constant <value = float {1000.0}> () scores = Mod <fmod = 1> (y, big)"""
    onnx.save(small(head), path / "detached.onnx")
    images = np.random.default_rng(0).standard_normal((12, 3, 8, 8)).astype(np.float32)
    np.savez(path / "images.npz", x=images)
    return path


def compare(folder: Path, second: str, *words: str | Path) -> Result:
    models = (folder / "net.onnx", folder / f"{second}.onnx")
    source = ("--images", folder / "images.npz", "--device", "cpu", "--method", "gradcam")
    return run("compare-models", *models, *source, *words)


def test_equal_models_give_one_line_and_pass(folder: Path) -> None:
    done = compare(folder, "copy", "--fail-over", "0")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "no difference: net and copy agree on 12 images\n"


def test_the_gate_names_what_differs(folder: Path) -> None:
    done = compare(folder, "other")
    assert done.exit_code == 0 and "the graphs diverge at layer 'features'" in done.stdout
    gated = compare(folder, "other", "--fail-over", "0.001", "--json")
    assert gated.exit_code == 3 and "differences are larger than 0.001" in gated.stderr
    record = json.loads(gated.stdout)
    assert record["fail_over"] == 0.001 and record["parting"] == "features"
    for line in record["exceeding"]:
        assert line in gated.stderr
    assert compare(folder, "other", "--fail-over", "1").exit_code == 0


def test_what_cannot_be_compared_does_not_pass(folder: Path) -> None:
    assert compare(folder, "detached").exit_code == 0
    done = compare(folder, "detached", "--fail-over", "0.5")
    assert done.exit_code == 1 and "not everything could be compared" in done.stderr
    assert "the maps of detached could not be computed" in done.stdout


def test_a_report_is_written_to_a_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "parity.json"
    assert compare(folder, "other", "--json", "-o", out).exit_code == 0
    assert json.loads(out.read_text("utf-8"))["second"] == "other"
    again = compare(folder, "copy", "-o", out)
    assert again.exit_code == 1 and "--force" in again.stderr
    assert compare(folder, "copy", "-o", out, "--force").exit_code == 0
    model = folder / "copy.onnx"
    kept = model.read_bytes()
    assert compare(folder, "copy", "-o", model, "--force").exit_code == 1
    assert model.read_bytes() == kept
