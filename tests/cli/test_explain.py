"""`adcc-onnx explain`: pictures, maps and predictions, and mistakes answered in a line."""

from __future__ import annotations

from pathlib import Path

import cv2
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


def run(folder: Path, *words: str) -> Result:
    given = [str(folder / w) if (folder / w).exists() else w for w in words]
    return CliRunner().invoke(main, ["explain", str(folder / "net.onnx"), *given])


def test_overlays_maps_and_predictions(folder: Path) -> None:
    out = folder / "out"
    methods = ("--method", "gradcam", "--method", "smoothgradcam++(n=2)")
    labels = ("--class-names", str(folder / "names.txt"), "--class", "goldfish")
    result = run(folder, "a b.png", "c.png", *methods, *labels, "-o", str(out))
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{stem}.{method}.{kind}"
        for stem in ("0000_a_b", "0001_c")
        for method in ("gradcam", "smoothgradcam++_n_2")
        for kind in ("npy", "png")
    )
    line = result.stdout.splitlines()[0]
    assert line.startswith("a b.png: ") and line.count(" %") == 5 and "great white shark" in line
    model = adcc.load(folder / "net.onnx", device="cpu")
    wanted = adcc.explain(model, [folder / "c.png"], "gradcam", target=1).maps[0]
    found = np.load(out / "0001_c.gradcam.npy", allow_pickle=False)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    picture = cv2.cvtColor(cv2.imread(str(out / "0001_c.gradcam.png")), cv2.COLOR_BGR2RGB)
    assert picture.shape == (160 + 28, 2 * (160 + 12), 3)


def test_one_bad_image_stops_no_other(folder: Path) -> None:
    (folder / "bad.png").write_bytes((folder / "c.png").read_bytes()[:90])
    result = run(folder, "bad.png", "c.png", "-o", str(folder / "out"))
    assert result.exit_code == 1
    assert "failed: bad.png: truncated" in result.stdout
    assert (folder / "out" / "0001_c.gradcam.png").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("c.png", "--class", "7"), "no class 7: the model has 5 classes"),
        (("c.png", "--class", "goldfish"), "give --class-names FILE"),
        (("c.png", "--class", "goldfihs", "--class-names", "names.txt"), "did you mean 'goldfish'"),
        (("none.png",), "no such file or folder: none.png"),
        (("c.png", "--method", "gradcan"), "did you mean 'gradcam'"),
        (("c.png", "--class-names", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_mistakes(folder: Path, words: tuple[str, ...], told: str) -> None:
    result = run(folder, *words, "-o", str(folder / "out"))
    assert result.exit_code not in (0, None)
    assert told in result.stderr.strip().splitlines()[-1]
