"""Silent mistakes are named: labels without a class, wrong preprocessing, and no scored image."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import AdccWarning, SourceError

IMAGES = np.random.default_rng(3).standard_normal((24, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    onnx.save(small(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def warned(**options: object) -> list[str]:
    """The warnings of an evaluation of the built-in classifier on 20 drawings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adcc.evaluate(
            classifier_path(), "drawings:20", ["fakecam"], ["complexity"], device="cpu", **options
        )
    return [str(one.message) for one in caught if issubclass(one.category, AdccWarning)]


def test_a_right_evaluation_warns_of_nothing() -> None:
    assert warned() == []


def test_wrong_preprocessing_is_named_with_its_preset_and_the_fix() -> None:
    model = adcc.load(classifier_path(), preprocessing="caffe", device="cpu")
    predicted = adcc.explain(model, "drawings:20", "fakecam").predicted
    wrong = [(int(one) + 1) % model.classifier.classes for one in predicted]
    (said,) = warned(preprocessing="caffe", labels=wrong)
    assert "top-1 is 0.0 % on 20" in said
    assert "on 20 labeled images: the preprocessing 'caffe' or the order of the classes" in said
    assert "try another --preprocess (torch, tf, caffe, unit" in said


def test_without_labels_uniform_confidence_is_named(net: Path) -> None:
    with pytest.warns(AdccWarning, match="nearly as unsure as by chance"):
        adcc.evaluate(net, IMAGES * 1e-6, ["fakecam"], ["complexity"], device="cpu")


def test_labels_without_a_class_are_reported_with_examples(net: Path) -> None:
    labels = ["tabby", 0, 999, 1, *[0] * 20]
    with pytest.warns(AdccWarning, match=r"2 of 24 labels are not one .* \(such as 'tabby', 999\)"):
        adcc.evaluate(net, IMAGES, ["fakecam"], ["complexity"], labels=labels, device="cpu")


@pytest.mark.parametrize(
    ("labels", "words"),
    [(None, "no image has a label"), (["tabby"] * 24, r"no label is one .* \(such as 'tabby'\)")],
)
def test_a_target_by_label_needs_labels(net: Path, labels: list[str] | None, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        adcc.evaluate(net, IMAGES, ["fakecam"], labels=labels, target="label", device="cpu")


def test_no_scored_image_is_status_1_with_the_first_reasons(net: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES[:2])
    (tmp_path / "maps").mkdir()
    for i in range(2):
        np.save(tmp_path / "maps" / f"{i}.npy", np.zeros((4, 4), np.float32))
    source = ("--images", tmp_path / "x.npz", "--device", "cpu")
    failed = run("evaluate", net, *source, "--maps", tmp_path / "maps")
    assert failed.exit_code == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert "net: no image was scored: the map 0.npy is float32 [4 x 4]" in last
    unlabeled = run("evaluate", net, *source, "--method", "gradcam", "--target", "label")
    assert unlabeled.exit_code == 1
    assert "no image has a label: give --labels FILE" in unlabeled.stderr
    (tmp_path / "l.csv").write_text("path,label\ngone.png,1\n")
    missing = run(
        *("evaluate", net, "--images", tmp_path / "l.csv", "--preprocess", "unit"),
        *("--device", "cpu", "--method", "gradcam"),
    )
    assert missing.exit_code == 1
    assert "no image was scored: gone.png: cannot be read (No such file" in missing.stderr


def test_few_images_are_said_to_be_few(net: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES[:4])
    words = ("evaluate", net, "--images", tmp_path / "x.npz", "--device", "cpu")
    shown = run(*words, "--method", "gradcam", "--method", "fakecam").stdout
    assert "Only 4 images: intervals and tests are unreliable below 10 images." in shown
    assert "With 4 images, no difference can be significant at 95 %" in shown and "≈" not in shown
    np.savez(tmp_path / "x.npz", x=IMAGES[:12])
    shown = run(*words, "--method", "gradcam", "--method", "fakecam").stdout
    assert "Only" not in shown and "no difference can" not in shown
