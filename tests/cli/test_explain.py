"""`adcc-onnx explain`: pictures, maps and predictions, and mistakes answered in a line."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.small_models import small
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main

NAMES = ["n1 tench, Tinca", "n2 goldfish", "n3 great white shark", "n4 ray", "n5 cock"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(small("softmax"), tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text('preset = "unit"\nresize = 8\n')
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    rng = np.random.default_rng(0)
    for name in ("a b", "c"):
        Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    return tmp_path


def files_in(folder: Path) -> set[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return set(found)


def run(folder: Path, *words: str) -> Result:
    given = [str(folder / w) if (folder / w).exists() else w for w in words]
    return CliRunner().invoke(main, ["explain", str(folder / "net.onnx"), *given])


def test_overlays_maps_and_predictions(folder: Path) -> None:
    out = folder / "out"
    methods = ("--method", "gradcam", "--method", "smoothgradcam++(n=2)")
    labels = ("--class-names", str(folder / "names.txt"), "--target", "goldfish")
    result = run(folder, "a b.png", "c.png", *methods, *labels, "-o", str(out))
    assert result.exit_code == 0, result.stderr
    assert files_in(out) == {
        *(f"{stem}.1_n2_goldfish.gradcam+smoothgradcam++_n_2.grid.png" for stem in ("a_b", "c")),
        *(
            f"{stem}.1_n2_goldfish.{method}.{kind}"
            for stem in ("a_b", "c")
            for method in ("gradcam", "smoothgradcam++_n_2")
            for kind in ("png", "crop.png")
        ),
        *(
            f"{method}.1_n2_goldfish/{image}.png.npy"
            for method in ("gradcam", "smoothgradcam++_n_2")
            for image in ("a b", "c")
        ),
    }
    line = result.stdout.splitlines()[0]
    assert result.stdout.splitlines()[1].endswith(".grid.png, 4 overlays, 2 maps")
    assert line.startswith("a b.png: ") and line.count(" %") == 5 and "great white shark" in line
    model = adcc.load(folder / "net.onnx", device="cpu")
    wanted = adcc.explain(model, [folder / "c.png"], "gradcam", target=1).maps[0]
    found = np.load(out / "gradcam.1_n2_goldfish" / "c.png.npy", allow_pickle=False)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    steps, picture = model.preprocessing, np.asarray(Image.open(folder / "c.png"))
    assert steps is not None
    for name, drawn in {
        "c.1_n2_goldfish.gradcam.png": adcc.overlay(picture, found, crop=steps),
        "c.1_n2_goldfish.gradcam.crop.png": adcc.overlay(steps.crop_image(picture), found),
    }.items():
        np.testing.assert_array_equal(np.asarray(Image.open(out / name)), drawn)


def test_maps_are_evaluated_as_they_are(folder: Path) -> None:
    classes = folder / "classes"
    for name in ("0", "1"):
        (classes / name).mkdir(parents=True)
        (classes / name / "1.png").write_bytes(
            (folder / f"{'a b' if name == '0' else 'c'}.png").read_bytes()
        )
    out = folder / "out"
    for target in ("predicted", "2"):
        result = run(folder, "classes", "--target", target, "-o", str(out))
        assert result.exit_code == 0, result.stderr
        maps = out / f"gradcam.{target}"
        model = adcc.load(folder / "net.onnx", device="cpu")
        scores = adcc.evaluate(model, classes, ["gradcam"], target=target, maps=[maps]).methods
        assert set(scores[maps.name].scores) >= {"average_drop", "complexity"}
        for metric, value in scores[maps.name].scores.items():
            assert value == pytest.approx(scores["gradcam"].scores[metric], abs=1e-6), metric


@dataclass(frozen=True)
class Undefined(adcc.Method):
    """A method without a map of the second image."""

    name = "undefined"
    family = "test"
    summary = "NaN for the second image."
    needs = frozenset({adcc.Need.ACTIVATIONS})

    def raw_maps(self, context: Any) -> np.ndarray:
        maps = context.activations.mean(axis=1)
        maps[1:] = np.nan
        return maps


def test_a_map_that_is_not_finite_is_a_failure_and_is_not_written(folder: Path) -> None:
    lines: list[str] = []
    images = [folder / "a b.png", folder / "c.png"]
    saved = adcc.save_explanations(
        adcc.load(folder / "net.onnx", device="cpu"), images, [Undefined(), "gradcam"],
        out=folder / "out", target=0, notify=lines.append,
    )  # fmt: skip
    (reason,) = saved.failures.values()
    assert reason == "undefined: the map holds NaN or infinite values"
    assert f"failed: c.png: {reason}" in lines
    names = files_in(folder / "out")
    assert {name for name in names if "npy" in name} == {
        "undefined.0/a b.png.npy", "gradcam.0/a b.png.npy", "gradcam.0/c.png.npy"
    }  # fmt: skip
    assert "a_b.0.undefined+gradcam.grid.png" in names and "c.0.gradcam.grid.png" in names


def test_no_class_and_no_method_replaces_another(folder: Path) -> None:
    out = folder / "out"
    written: dict[str, bytes] = {}
    for options in (("--target", "0"), ("--target", "1"), ("--method", "center", "--target", "1")):
        result = run(folder, "c.png", *options, "-o", str(out))
        assert result.exit_code == 0, result.stderr
        for name, data in written.items():
            assert (out / name).read_bytes() == data
        written = {name: (out / name).read_bytes() for name in files_in(out)}
    assert len(written) == 3 * 4


def test_existing_files_need_force(folder: Path) -> None:
    out = folder / "out"
    words = ("c.png", "--target", "0", "-o", str(out))
    assert run(folder, *words).exit_code == 0
    overlay = out / "c.0.gradcam.png"
    before = overlay.read_bytes()
    again = run(folder, *words, "--colormap", "magma")
    assert again.exit_code == 1 and len(again.stderr.strip().splitlines()[-1:]) == 1
    assert "c.png.npy exists: choose another folder with -o, or" in again.stderr
    (out / "gradcam.0" / "c.png.npy").unlink()
    again = run(folder, *words, "--colormap", "magma")
    assert again.exit_code == 1 and f"{overlay} exists" in again.stderr
    assert overlay.read_bytes() == before
    forced = run(folder, *words, "--colormap", "magma", "--alpha", "0.3", "--force")
    assert forced.exit_code == 0 and overlay.read_bytes() != before


def test_a_grid_in_python_is_the_file_of_the_command(folder: Path) -> None:
    model = adcc.load(folder / "net.onnx", device="cpu").with_labels(NAMES)
    images = [folder / "a b.png", folder / "c.png"]
    first, second = (adcc.explain(model, images, name, target=1) for name in ("gradcam", "center"))
    out = folder / "out"
    options = ("--alpha", "0.4", "--colormap", "inferno", "--target", "1")
    methods = ("--method", "gradcam", "--method", "center", "--class-names", "names.txt")
    run(folder, "a b.png", "c.png", *methods, *options, "-o", str(out))
    own = folder / "own"
    style = {"alpha": 0.4, "colormap": "inferno"}
    assert {path.relative_to(own).as_posix() for path in first.save(own, [second], **style)} == (
        files_in(out)
    )
    for name in files_in(out):
        if "grid" not in name:  # a grid shows the name of the image, which is a path here
            assert (own / name).read_bytes() == (out / name).read_bytes(), name
    grid = np.asarray(Image.open(own / "c.1_n2_goldfish.gradcam+center.grid.png"))
    np.testing.assert_array_equal(first.grid(1, [second], **style), grid)
    with pytest.raises(adcc.StoreError, match="exists"):
        first.save(own, [second])
    other = adcc.explain(model, images[1:], "center", target=2)
    with pytest.raises(ValueError, match="explains the class 2"):
        first.grid(1, [other])
    with pytest.raises(ValueError, match="has no map of the image"):
        first.grid(0, [other])
    with pytest.raises(adcc.OptionError, match="colormap must be one of"):
        first.grid(0, colormap="jet")
    loaded = pickle.loads(pickle.dumps(first))
    assert loaded.names == first.names
    with pytest.raises(adcc.OptionError, match="only explanations from `explain`"):
        loaded.grid(0)


def test_one_bad_image_stops_no_other(folder: Path) -> None:
    (folder / "bad.png").write_bytes((folder / "c.png").read_bytes()[:90])
    result = run(folder, "bad.png", "c.png", "-o", str(folder / "out"))
    assert result.exit_code == 1
    assert "failed: bad.png: truncated" in result.stdout
    assert (folder / "out" / "gradcam.predicted" / "c.png.npy").exists()
    assert len(files_in(folder / "out")) == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("c.png", "--class", "7"), "no class 7: the model has 5 classes"),
        (("c.png", "--class", "goldfish"), "give --class-names FILE"),
        (("c.png", "--class", "goldfihs", "--class-names", "names.txt"), "did you mean 'goldfish'"),
        (("none.png",), "no such file or folder: none.png"),
        (("c.png", "--method", "gradcan"), "did you mean 'gradcam'"),
        (("c.png", "--class-names", "nowhere.txt"), "nowhere.txt"),
        (("c.png", "--alpha", "2"), "0<=x<=1"),
        (("c.png", "--colormap", "jet"), "'jet' is not one of 'viridis'"),
    ],
)
def test_mistakes(folder: Path, words: tuple[str, ...], told: str) -> None:
    result = run(folder, *words, "-o", str(folder / "out"))
    assert result.exit_code not in (0, None)
    assert told in result.stderr.strip().splitlines()[-1]
