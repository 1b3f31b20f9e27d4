"""`explain` and `randomize` on preprocessed tensors, bands, gray images and inputs that are set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.input_twins import twin
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main

RNG = np.random.default_rng(2)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def saved(model: onnx.ModelProto, folder: Path, card: str = "") -> Path:
    path = folder / "net.onnx"
    onnx.save(model, path)
    if card:
        path.with_suffix(".toml").write_text(card)
    return path


@pytest.mark.parametrize("card", ["", 'preset = "torch"\n'])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_ready_tensors_are_explained_and_drawn(tmp_path: Path, channels: int, card: str) -> None:
    card = card if channels != 4 else ""
    model = saved(twin(f"float[batch,{channels},8,6] x", channels=channels), tmp_path, card)
    x = RNG.standard_normal((2, channels, 8, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    out = tmp_path / "out"
    result = run("explain", model, tmp_path / "x.npz", "-o", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    wanted = adcc.explain(model, x, device="cpu")
    assert {p.name for p in out.glob("*.png")} == {
        f"{i}.{wanted.targets[i]}.gradcam.{kind}.png" for i in (0, 1) for kind in ("crop", "grid")
    }
    found = np.load(out / "gradcam.predicted" / "1.npy")
    np.testing.assert_allclose(found, wanted.maps[1], atol=1e-6)


def test_randomize_takes_ready_tensors(tmp_path: Path) -> None:
    model = saved(twin("float[batch,1,8,6] x"), tmp_path)
    np.savez(tmp_path / "x.npz", x=RNG.standard_normal((2, 1, 8, 6)).astype(np.float32))
    words = ("randomize", model, "--images", tmp_path / "x.npz", "--steps", "1", "--method")
    result = run(*words, "gradcam", "--device", "cpu")
    assert result.exit_code == 0, result.stderr


def test_images_and_ready_tensors_are_not_mixed(tmp_path: Path) -> None:
    model = saved(twin("float[batch,1,8,6] x"), tmp_path, 'preset = "unit"\n')
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 1, 8, 6), np.float32))
    Image.new("L", (6, 8)).save(tmp_path / "a.png")
    result = run("explain", model, tmp_path / "x.npz", tmp_path / "a.png", "-o", tmp_path / "out")
    assert result.exit_code == 1 and "cannot be mixed" in result.stderr


def test_a_gray_model_explains_photos(tmp_path: Path) -> None:
    model = saved(twin("float[batch,1,8,6] x"), tmp_path, "mean = 0.1307\nstd = 0.3081\n")
    pixels = RNG.integers(0, 256, (16, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = adcc.explain(model, tmp_path / "a.png", device="cpu")
    loaded = adcc.load(model, device="cpu")
    gray = Image.fromarray(pixels).convert("L").resize((9, 12), Image.Resampling.BILINEAR)
    wanted = adcc.load(model, device="cpu").preprocessing
    assert wanted is not None and wanted.mean == (0.1307,)
    assert loaded.preprocessing is not None and loaded.preprocessing.resize == 9
    cropped = np.asarray(gray)[2:10, 2:8] / np.float32(255)
    tensor = ((cropped - np.float32(0.1307)) / np.float32(0.3081))[None, None]
    exact = adcc.explain(loaded, tensor)
    np.testing.assert_allclose(found.probabilities, exact.probabilities, atol=1e-6)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_bands_come_from_npy_files(tmp_path: Path, channels: int) -> None:
    means = [10.0 * (band + 1) for band in range(channels)]
    card = f'channels = "bands"\nscale = 1.0\nresize = 8\nmean = {means}\nstd = 50.0\n'
    model = saved(twin(f"float[batch,{channels},8,6] x", channels=channels), tmp_path, card)
    pixels = RNG.integers(0, 256, (8, 6, channels), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "a.npy", pixels)
    np.save(tmp_path / "images" / "b.npy", np.moveaxis(pixels, 2, 0).astype(np.float32))
    out = tmp_path / "out"
    result = run("explain", model, tmp_path / "images", "-o", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    found = adcc.explain(model, tmp_path / "images", device="cpu")
    steps = adcc.load(model, device="cpu").preprocessing
    assert steps is not None and steps.depth == channels and steps.std == (50.0,) * channels
    assert found.names == ["a.npy", "b.npy"]
    # 8 x 6 pixels scaled to a shorter side of 8 are 10 x 8; their center is cropped.
    planes = [Image.fromarray(pixels[:, :, band]) for band in range(channels)]
    resized = [np.asarray(plane.resize((8, 10), Image.Resampling.BILINEAR)) for plane in planes]
    cropped = np.stack(resized)[:, 1:9, 1:7].astype(np.float32)
    x = (cropped - np.float32(means)[:, None, None]) / np.float32(50)
    exact = adcc.explain(model, x[None], device="cpu")
    np.testing.assert_allclose(found.probabilities[0], exact.probabilities[0], atol=1e-6)


def test_photos_are_refused_for_bands_before_anything_runs(tmp_path: Path) -> None:
    model = saved(twin("float[batch,4,8,6] x", channels=4), tmp_path)
    Image.new("RGB", (6, 8)).save(tmp_path / "a.jpg")
    words = ("evaluate", model, "--images", tmp_path / "a.jpg", "-o", tmp_path / "run.sqlite")
    for options, expected in {
        (): "takes 4 channels, which photos do not have",
        ("--preprocess", "unit"): "takes 4 bands, which photos do not have",
        ("--preprocess", "torch"): "constants for three colors",
    }.items():
        result = run(*words, "--device", "cpu", *options)
        assert result.exit_code == 1
        assert expected in result.stderr and ".npz" in result.stderr, result.stderr
        assert not (tmp_path / "run.sqlite").exists()


def test_an_input_is_set_on_the_command_line(tmp_path: Path) -> None:
    model = twin(
        "float[batch,1,8,6] x, float[batch,3] table",
        "pixels = Identity (x)", table=3, flat="both",
    )  # fmt: skip
    joined = onnx.helper.make_node("Concat", ["flat", "table"], ["both"], axis=1)
    model.graph.node.insert(len(model.graph.node) - 1, joined)
    path = saved(model, tmp_path, 'preset = "unit"\n')
    Image.new("L", (6, 8), 90).save(tmp_path / "a.png")
    words = ("explain", path, tmp_path / "a.png", "-o", tmp_path / "out", "--device", "cpu")
    missing = run(*words)
    assert missing.exit_code == 1 and "--set table=FILE.npy" in missing.stderr
    result = run(*words, "--set", "table=0.5,-2,3")
    assert result.exit_code == 0, result.stderr
    wrong = run(*words, "--set", "table=maybe")
    assert wrong.exit_code != 0 and "neither a number" in wrong.output + wrong.stderr
    out = tmp_path / "exposed.onnx"
    result = run("expose", path, "--set", "table=1", "-o", out)
    assert result.exit_code == 0, result.stderr
    assert [value.name for value in onnx.load(out).graph.input] == ["x", "target"]
