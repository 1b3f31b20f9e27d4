"""The command line as a user meets it: the main job, and one clear line for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.small_models import small
from PIL import Image

from adcc_onnx.cli.command_group import main

OWN_OPERATOR = """own = unknown.Blend (pooled) flat = Flatten (own)
    scores = Gemm <transB = 1> (flat, weights)"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, its card, four pictures and one that is cut short."""
    onnx.save(small("softmax"), tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text('preset = "unit"\nresize = 8\n')
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 256, (12, 9 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{i}.png")
    (photos / "broken.png").write_bytes((photos / "0.png").read_bytes()[:150])
    return tmp_path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(result: Result, *wanted: str) -> None:
    """A non-zero exit and one line on standard error that holds all the words."""
    assert result.exit_code not in (0, None)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    line = result.stderr.strip().splitlines()[-1]
    for words in wanted:
        assert words in line, line


def test_the_main_job(folder: Path) -> None:
    kept = folder / "run.sqlite"
    methods = ("--method=gradcam", "--method=fakecam", "--method=scorecam", "--no-controls")
    result = run(
        "evaluate", folder / "net.onnx", "--images", folder / "photos", *methods, "-o", kept
    )
    assert result.exit_code == 0, result.stderr
    assert "5 images" in result.stdout and "1 failed" in result.stdout
    assert "broken.png" in result.stdout
    again = run(
        *("evaluate", folder / "net.onnx", "--images", folder / "photos", *methods),
        *("-o", kept, "--resume", "--strict"),
    )
    refused(again, "1 failures, and --strict allows none")
    assert again.stdout == result.stdout
    report = json.loads(run("report", kept, "--format", "json").stdout)["runs"][0]
    assert (report["images"], report["failed"]) == (5, 1)
    assert list(report["methods"]) == ["gradcam", "fakecam", "scorecam"]
    fake = report["methods"]["fakecam"]
    assert fake["coherency"] == 1.0 and fake["complexity"] == 1 - 1 / 64
    lines = run("report", kept, "--format", "csv").stdout.splitlines()
    assert len(lines) == 4 and lines[0].startswith("model,protocol,method,average_drop")
    assert run("report", kept).stdout == result.stdout.rstrip("\n") + "\n"


def test_resuming_computes_nothing_twice_and_gives_the_same(folder: Path) -> None:
    words = ("evaluate", folder / "net.onnx", "--images", folder / "photos", "--method", "gradcam")
    whole, parts = folder / "whole.sqlite", folder / "parts.sqlite"
    assert run(*words, "-o", whole).exit_code == 0
    assert run(*words, "-o", parts, "--limit", "2").exit_code == 0
    refused(run(*words, "-o", parts), "exists", "--resume")
    assert run(*words, "-o", parts, "--resume").exit_code == 0
    reports = [run("report", kept, "--format", "json").stdout for kept in (whole, parts)]
    assert reports[0] == reports[1]
    refused(
        run(*words[:-1], "layercam", "-o", parts, "--resume"),
        "made differently",
        "methods: ['gradcam', 'random', 'center'] -> ['layercam', 'random', 'center']",
    )


def test_ready_tensors_need_no_preprocessing(folder: Path) -> None:
    (folder / "net.toml").unlink()
    x = np.random.default_rng(1).standard_normal((3, 3, 8, 8)).astype(np.float32)
    np.savez(folder / "x.npz", x=x, label=np.array([0, 1, 2]))
    result = run("evaluate", folder / "net.onnx", "--images", folder / "x.npz", "--method=gradcam")
    assert result.exit_code == 0 and "top-1" in result.stdout


def test_expose_writes_a_model(folder: Path) -> None:
    out = folder / "out.onnx"
    assert run("expose", folder / "net.onnx", "-o", out, "--layer", "features").exit_code == 0
    names = [value.name for value in onnx.load(out).graph.output]
    assert names == ["scores", "features.activation", "features.gradient"]


def test_methods_are_listed() -> None:
    listed = run("methods").stdout
    assert all(name in listed for name in ("fakecam", "gradcam++", "scorecam", "hirescam"))


def test_mistakes_about_the_model(folder: Path) -> None:
    photos = ("--images", folder / "photos", "--preprocess", "unit", "--method", "gradcam")
    (folder / "text.onnx").write_text("no model")
    onnx.save(small(OWN_OPERATOR), folder / "own.onnx")
    two_inputs = small(
        "flat = Flatten (pooled) z = Gemm <transB = 1> (flat, weights) scores = Mul (z, extra)"
    )
    two_inputs.graph.input.append(
        onnx.helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, [1])
    )
    onnx.save(two_inputs, folder / "two.onnx")
    onnx.save(small("scores = Identity (pooled)"), folder / "maps.onnx")
    refused(run("evaluate", folder / "absent.onnx", *photos), "no such model file", "absent.onnx")
    refused(run("evaluate", folder / "text.onnx", *photos), "text.onnx is not an ONNX model")
    refused(run("evaluate", folder / "two.onnx", *photos), "--set", "'extra'")
    refused(
        run("evaluate", folder / "net.onnx", *photos, "--layer", "activ"),
        "no layer 'activ'",
        "did you mean 'active'",
    )
    refused(run("evaluate", folder / "net.onnx", *photos, "--size", "9x9"), "8 x 8", "9 x 9")
    refused(
        run("evaluate", folder / "net.onnx", *photos, "--device", "cuda:7"), "cuda:7", "available"
    )


def test_an_operator_without_a_rule_is_named(folder: Path) -> None:
    onnx.save(small(OWN_OPERATOR), folder / "own.onnx")
    refused(
        run("expose", folder / "own.onnx", "-o", folder / "out.onnx", "--layer", "active"),
        "unknown.Blend",
        "it has no gradient rule",
    )
    assert not (folder / "out.onnx").exists()


def test_mistakes_about_the_images(folder: Path) -> None:
    net = ("evaluate", folder / "net.onnx", "--images")
    (folder / "empty").mkdir()
    np.savez(folder / "small.npz", x=np.zeros((2, 3, 4, 4), np.float32))
    (folder / "bare").mkdir()
    onnx.save(small(), folder / "bare" / "net.onnx")
    refused(run(*net, folder / "nowhere"), "no such file or folder", "nowhere")
    refused(run(*net, folder / "empty"), "no image in", ".png")
    refused(run(*net, folder / "small.npz"), "3 x 4 x 4", "3 x 8 x 8")
    refused(
        run("evaluate", folder / "bare" / "net.onnx", "--images", folder / "photos"),
        "--preprocess",
        "net.toml",
    )
    refused(run(*net, folder / "photos", "--preprocess", "torhc"), "torhc", "torch, tf")
    assert not list(folder.glob("*.sqlite"))


def test_mistakes_about_the_wishes(folder: Path) -> None:
    net = ("evaluate", folder / "net.onnx", "--images", folder / "photos")
    refused(run(*net, "--method", "gradcan"), "did you mean 'gradcam'")
    refused(run(*net, "--metric", "coherence"), "did you mean 'coherency'")
    refused(run(*net, "--target", "5"), "no class 5", "5 classes")
    refused(run(*net, "--target", "cat"), "class 'cat' needs class names")
    refused(run(*net, "--target", "lable"), "did you mean 'label'")
    refused(run(*net, "--protocol", "poppi"), "poppi2021")
    refused(run(*net, "--resume"), "--resume")
    refused(run("report", folder / "none.sqlite"), "no such run")
    refused(run("report", folder / "net.onnx"), "net.onnx")


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from adcc_onnx.cli import main\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'numba', 'cv2', 'PIL', 'scipy'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
