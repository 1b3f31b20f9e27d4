"""Silent mistakes are named: labels without a class, wrong preprocessing, and no scored image."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.selected import slow_except
from helpers.small_models import small
from helpers.untrained_networks import TRAINED, UNTRAINED, evaluated
from scipy import stats

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import CLASSIFIERS, classifier_path
from adcc_onnx.drawings.generate import draw, label_of_drawing
from adcc_onnx.errors import AdccWarning, SourceError
from adcc_onnx.evaluation.shuffled_pixels import similarity_after_shuffling
from adcc_onnx.graph.programs.randomize_weights import randomize_weights, weight_names_from_top
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.runtime.passes import Pass

IMAGES = np.random.default_rng(3).standard_normal((24, 3, 8, 8)).astype(np.float32)
ONES = np.ones_like(IMAGES)


def linear(weights: np.ndarray) -> onnx.ModelProto:
    """A model whose scores are a linear function of the mean color."""
    text = f"""
<ir_version: 8, opset_import: ["" : 18]>
linear (float[batch,3,8,8] image) => (float[batch,{len(weights)}] scores) {{
  pooled = GlobalAveragePool (image)
  flat = Flatten (pooled)
  scores = Gemm <transB = 1> (flat, weights)
}}
"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    return model


@pytest.fixture
def net(tmp_path: Path) -> Path:
    onnx.save(small(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def warned(classifier: str = "cnn", **options: object) -> list[str]:
    """The warnings of an evaluation of a built-in classifier on 20 drawings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adcc.evaluate(
            classifier_path(classifier), "drawings:20", ["fakecam"], ["complexity"], device="cpu",
            **options,
        )  # fmt: skip
    return [str(one.message) for one in caught if issubclass(one.category, AdccWarning)]


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_right_evaluation_warns_of_nothing(classifier: str) -> None:
    assert warned(classifier) == []


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_images_of_one_class_warn_of_nothing(classifier: str) -> None:
    places = [index for index in range(200) if label_of_drawing(2026, index) == 3][:12]
    images = [draw(2026, index).image for index in places]
    result = adcc.evaluate(
        classifier_path(classifier), images, "fakecam", "complexity", device="cpu"
    )
    assert {row.predicted for row in result.image_rows} == {3}
    assert result.warnings == []


def test_wrong_preprocessing_is_named_with_its_preset_and_the_fix() -> None:
    model = adcc.load(classifier_path(), preprocessing="caffe", device="cpu")
    predicted = adcc.explain(model, "drawings:20", "fakecam").predicted
    wrong = [(int(one) + 1) % model.classifier.classes for one in predicted]
    (said,) = warned(preprocessing="caffe", labels=wrong)
    assert "top-1 is 0.0 % on 20" in said
    assert "on 20 labeled images: the preprocessing 'caffe' or the order of the classes" in said
    assert "try another --preprocess (torch, tf, caffe, unit" in said


def test_without_labels_uniform_confidence_is_named(net: Path) -> None:
    with pytest.warns(AdccWarning, match="net: the model is very unsure .* 20 %, 20 % by chance"):
        adcc.evaluate(net, IMAGES[:10] * 1e-6, ["fakecam"], ["complexity"], device="cpu")


@pytest.mark.parametrize(
    ("classes", "odds", "unsure"),
    [
        (1001, 0.031, True),
        (1001, 0.033, False),
        (10, 0.33, True),
        (10, 0.34, False),
        (2, 1.0, False),
    ],
)
def test_odds_are_compared_with_those_of_chance_and_of_certainty(
    classes: int, odds: float, unsure: bool
) -> None:
    """The limit is the geometric mean of the odds by chance, 1 : (classes - 1), and of 1 : 1."""
    weights = np.zeros((classes, 3), np.float32)
    weights[0] = np.log(odds * (classes - 1)) / 3
    result = adcc.evaluate(
        linear(weights), ONES, "fakecam", "complexity", device="cpu", layers="input"
    )
    assert result.image_rows[0].probability == pytest.approx(odds / (1 + odds), rel=1e-5)
    assert ("the model is very unsure" in "".join(result.warnings)) == unsure


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_untrained_weights_are_named(classifier: str) -> None:
    """The built-in classifiers with random weights of the same mean and variance."""
    model = adcc.load(classifier_path(classifier), device="cpu")
    names = weight_names_from_top(model.classifier)
    untrained = model.with_classifier(randomize_weights(model.classifier, names, 1))
    words = f"{untrained.name}: 12 of 12 images get the class '.*the weights are probably not tr"
    with pytest.warns(AdccWarning, match=words):
        adcc.evaluate(untrained, "drawings:12", "fakecam", "complexity")


@pytest.mark.parametrize("classes", [40, 4])
def test_scores_that_do_not_depend_on_the_order_of_pixels_are_named(classes: int) -> None:
    """Scores of the mean color; the scores of few classes could correlate by chance."""
    weights = 20 * np.random.default_rng(0).standard_normal((classes, 3)).astype(np.float32)
    result = adcc.evaluate(
        linear(weights), 1 + 0.05 * IMAGES, "fakecam", "complexity", device="cpu", layers="input"
    )
    if classes < 5:
        assert result.warnings == []
        return
    (said,) = result.warnings
    assert f"24 of 24 images get the class {result.image_rows[0].predicted}, and the sc" in said
    assert "if the pixels of an image are shuffled (median correlation 1.000): the weight" in said
    assert said.endswith("or the preprocessing is wrong; check how the tensors were made")


def test_the_similarity_after_shuffling_is_pearsons_r(net: Path) -> None:
    model = adcc.load(net, device="cpu", batch_size=3)
    found = similarity_after_shuffling(model, as_source(IMAGES), range(8))
    rng, expected = np.random.default_rng(0), []
    for image in IMAGES[:8]:
        shuffled = image.reshape(3, -1)[:, rng.permutation(64)].reshape(image.shape)
        both = model.pool.session(Pass.FORWARD).run({IMAGE: np.stack([image, shuffled])})[LOGITS]
        expected.append(stats.pearsonr(*both.astype(np.float64)).statistic)
    assert found == pytest.approx(np.median(expected), abs=1e-6)


def test_every_format_and_merged_runs_keep_the_warnings(net: Path, tmp_path: Path) -> None:
    runs, images = [tmp_path / "a.sqlite", tmp_path / "b.sqlite"], IMAGES * 1e-6
    for run_file, method in zip(runs, ("gradcam", "layercam"), strict=True):
        with pytest.warns(AdccWarning, match="very unsure"):
            adcc.evaluate(net, images, method, device="cpu", out=run_file)
    merged = adcc.merge(runs, tmp_path / "merged.sqlite")
    (result,) = adcc.read_results(merged)
    (said,) = result.warnings
    formats = ("table", "markdown", "latex", "html")
    for text in (*(adcc.render_report(merged, format=f) for f in formats), result._repr_html_()):
        assert " ".join(text.split()).count("Probably meaningless: the model is very unsure") == 1
    (content,) = json.loads(adcc.render_report(merged, format="json"))["runs"]
    assert content["warnings"] == [said]
    with pytest.warns(AdccWarning, match="very unsure"):  # also if nothing was left to do
        adcc.evaluate(net, images, "gradcam", device="cpu", out=runs[0], resume=True)


@pytest.mark.parametrize("name", slow_except(("mobilenet_v2", "deit_tiny_patch16_224"), TRAINED))
def test_trained_networks_warn_of_nothing(name: str, data: Path, tmp_path: Path) -> None:
    assert evaluated(name, data, tmp_path).warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("name", UNTRAINED)
def test_untrained_networks_are_named(name: str, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.warns(AdccWarning, match="the weights are probably not trained"):
        evaluated(name, data, tmp_path)


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
