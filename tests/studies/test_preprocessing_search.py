"""The search for a preprocessing, on networks whose preprocessing is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw, label_of_drawing
from adcc_onnx.errors import SourceError
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.preprocessing_candidates import candidates_of_values
from adcc_onnx.images.sources.open_images import open_pictures, open_source
from adcc_onnx.studies import preprocessing_search
from adcc_onnx.studies.preprocessing_criteria import LabelCriterion, MirrorCriterion
from adcc_onnx.studies.preprocessing_trial import Trial, TrialScores, log_softmax

COLORS = ((230, 40, 40), (40, 230, 40), (40, 40, 230))


def color_model(path: Path, weights: np.ndarray, bias: np.ndarray, layout: str = "NCHW") -> Path:
    """Write logits that are linear in the mean of each channel of the input tensor."""
    shape = "3, 16, 16" if layout == "NCHW" else "16, 16, 3"
    perm = "" if layout == "NCHW" else "moved = Transpose<perm = [0, 3, 1, 2]>(image)"
    source = "image" if layout == "NCHW" else "moved"
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 18]>
        net (float[N, {shape}] image) => (float[N, {len(bias)}] logits) {{
            {perm}
            maps = Relu({source})
            negative = Neg({source})
            dark = Relu(negative)
            signed = Sub(maps, dark)
            pooled = GlobalAveragePool(signed)
            flat = Flatten(pooled)
            logits = Gemm<transB = 1>(flat, weights, bias)
        }}""")
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(values.astype(np.float32), name)
        for name, values in (("weights", weights), ("bias", bias))
    )
    onnx.save(model, path)
    return path


def trained_on(steps: Preprocessing, path: Path, layout: str = "NCHW") -> Path:
    """Write a classifier of three colors: the nearest mean color after the given preprocessing."""
    centers = np.array([steps(np.full((16, 16, 3), c, np.uint8)).mean(axis=(1, 2)) for c in COLORS])
    sharpness = 8.0 / np.square(centers[0] - centers[1]).sum()
    weights, bias = 2 * sharpness * centers, -sharpness * np.square(centers).sum(axis=1)
    return color_model(path, weights, bias, layout)


@pytest.fixture(scope="module")
def colored() -> tuple[list[np.ndarray], list[int]]:
    """Noisy images in three colors, with their classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    images = [
        np.clip(rng.normal(COLORS[label], 60, (20, 20, 3)), 0, 255).astype(np.uint8)
        for label in labels
    ]
    return images, labels.tolist()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["torch with BGR", "caffe", "tf"])
def test_the_order_of_the_colors_and_the_scale_are_found(
    name: str, layout: str, colored: tuple[list[np.ndarray], list[int]], tmp_path: Path
) -> None:
    known = {one.values: one.preprocessing for one in candidates_of_values((16, 16), 3)}
    path = trained_on(known[name], tmp_path / "net.onnx", layout)
    images, labels = colored
    found = adcc.check(path, images, labels=labels, device="cpu")
    assert found.best.top1 == 1.0 and found.labeled and found.images == 60
    assert found.best.preprocessing.channels == known[name].channels
    fitting = {one.values for one in found.candidates if one.fits}
    swapped = {one.values for one in found.candidates if one.preprocessing.channels not in (
        known[name].channels,)}  # fmt: skip
    assert name in fitting
    assert not fitting & swapped
    accuracy = {one.values: one.top1 for one in found.candidates}
    assert accuracy[name] == 1.0


@pytest.mark.parametrize("offset", [0, 1, -1])
def test_shifted_labels_are_noticed(offset: int) -> None:
    positions = range(40)
    images = [draw(7, i).image for i in positions]
    labels = [label_of_drawing(7, i) - offset for i in positions]
    found = adcc.check(classifier_path(), images, labels=labels, device="cpu")
    assert found.label_offset == offset
    assert found.best.top1 is not None and found.best.top1 > 0.9


def test_without_labels_the_built_in_card_is_among_the_best() -> None:
    for name in ("cnn",):
        images = [draw(7, i).image for i in range(40)]
        found = adcc.check(classifier_path(name), images, device="cpu")
        assert not found.labeled and found.best.top1 is None
        assert found.given is not None and found.given.fits
        wrong = [one for one in found.candidates if one.values.startswith(("raw", "caffe"))]
        assert wrong and not any(one.fits for one in wrong)


def test_scores_equal_those_of_a_plain_loop_and_no_image_runs_twice() -> None:
    model = adcc.load(classifier_path(), device="cpu")
    source, pool = open_source("drawings:5"), list(candidates_of_values((112, 112), 3))
    trial = Trial(model, source, mirrored=True)
    steps = [one.preprocessing for one in pool[:3]]
    trial.scores(steps, [0, 2])
    found = trial.scores(steps, [0, 1, 2, 4])
    assert trial.passes == 2 * 3 * 4
    session = onnxruntime.InferenceSession(classifier_path(), providers=["CPUExecutionProvider"])
    for one in steps:
        images = np.stack([one(draw(2026, i).image) for i in (0, 1, 2, 4)])
        for view, got in ((images, found[one].logits), (images[..., ::-1], found[one].mirrored)):
            (wanted,) = session.run(None, {"image": np.ascontiguousarray(view)})
            np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_images_that_cannot_be_decoded_are_left_out(tmp_path: Path) -> None:
    for i in range(12):
        Image.fromarray(draw(3, i).image).save(tmp_path / f"{i:02}.png")
    (tmp_path / "05.png").write_bytes(b"no picture")
    found = adcc.check(classifier_path(), tmp_path, device="cpu")
    assert (found.images, found.failed) == (11, 1)
    for file in tmp_path.iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(SourceError, match="no image can be decoded"):
        adcc.check(classifier_path(), tmp_path, device="cpu")


def test_ready_tensors_are_refused() -> None:
    with pytest.raises(SourceError, match="give the images themselves"):
        adcc.check(classifier_path(), np.zeros((2, 3, 112, 112), np.float32), device="cpu")


def test_the_likelihood_does_not_depend_on_how_sure_the_network_is() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((50, 5)).astype(np.float32)
    labels = rng.integers(5, size=50)
    logits[np.arange(50), labels] += 1.5
    positions, none = np.arange(50), np.empty((0, 5), np.float32)
    criterion = LabelCriterion(labels.tolist())
    means = [
        criterion.likelihood(TrialScores(positions, logits * np.float32(scale), none)).mean()
        for scale in (0.5, 1.0, 2.0)
    ]
    assert np.ptp(means) < 0.01
    plain = log_softmax(logits)[np.arange(50), labels].mean()
    assert means[1] >= plain


def test_consistency_is_the_information_about_the_predicted_class() -> None:
    """Certain and equal predictions have the entropy of the classes; constant ones have none."""
    rng, criterion = np.random.default_rng(0), MirrorCriterion()
    classes = np.repeat(np.arange(4), [10, 20, 30, 40])
    sure = np.full((100, 4), -40.0, np.float32)
    sure[np.arange(100), classes] = 0.0
    positions = np.arange(100)
    share = np.bincount(classes) / 100
    entropy = -(share * np.log(share)).sum()
    assert criterion.rank(TrialScores(positions, sure, sure))[0] == pytest.approx(entropy)
    constant = np.tile(np.float32([5, -40, -40, -40]), (100, 1))
    assert criterion.rank(TrialScores(positions, constant, constant))[0] == pytest.approx(0.0)
    other = sure[rng.permutation(100)]
    assert criterion.rank(TrialScores(positions, sure, other))[0] < 0
    unsure = np.float32(0.02) * sure
    assert criterion.rank(TrialScores(positions, unsure, unsure))[0] < 0.7 * entropy


def test_clearly_worse_candidates_run_on_few_images() -> None:
    images = [draw(11, i).image for i in range(60)]
    labels = [label_of_drawing(11, i) for i in range(60)]
    found = adcc.check(classifier_path(), images, labels=labels, device="cpu")
    first, last = preprocessing_search._FIRST_IMAGES[0], 60
    runs = [one.images for one in found.candidates]
    assert min(runs) == first and max(runs) == last
    assert found.passes == sum(runs) < 0.7 * last * len(runs)
    assert all(one.images == first for one in found.candidates if one.values.startswith("raw"))


def test_gray_and_uint8_models(tmp_path: Path) -> None:
    gray = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        net (float[N, 1, 16, 16] image) => (float[N, 2] logits)
        <int64[2] shape = {0, 1}, float[1, 2] weights = {-1.0, 1.0}> {
            maps = Relu(image)
            pooled = GlobalAveragePool(maps)
            flat = Reshape(pooled, shape)
            logits = MatMul(flat, weights)
        }""")
    onnx.save(gray, tmp_path / "gray.onnx")
    pictures = [np.full((16, 16, 3), 20 * i, np.uint8) for i in range(12)]
    found = adcc.check(tmp_path / "gray.onnx", pictures, device="cpu")
    assert {one.preprocessing.channels for one in found.candidates} == {"L"}
    raw = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        net (uint8[N, 3, 16, 16] image) => (float[N, 3] logits) {
            maps = Cast<to = 1>(image)
            pooled = GlobalAveragePool(maps)
            logits = Flatten(pooled)
        }""")
    onnx.save(raw, tmp_path / "bytes.onnx")
    found = adcc.check(tmp_path / "bytes.onnx", pictures, device="cpu")
    assert {one.values for one in found.candidates} <= {"raw", "raw with BGR"}


def test_both_layouts_are_tried_where_the_shape_says_neither(tmp_path: Path) -> None:
    """The mean over the last axis of [N, 3, 3, 3] is a color's only if it holds the channels."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        net (float[N, 3, 3, 3] image) => (float[N, 3] logits)
        <int64[2] axes = {1, 2}, float[3] factor = {9.0, 9.0, 9.0}> {
            maps = Relu(image)
            pooled = ReduceMean<keepdims = 0>(maps, axes)
            logits = Mul(pooled, factor)
        }""")
    onnx.save(model, tmp_path / "net.onnx")
    labels = [i % 3 for i in range(30)]
    images = [np.full((3, 3, 3), COLORS[label], np.uint8) for label in labels]
    found = adcc.check(tmp_path / "net.onnx", images, labels=labels, device="cpu")
    assert (found.layout, found.best.top1) == ("NHWC", 1.0)
    adcc.check(tmp_path / "net.onnx", images, labels=labels, write_card=True, device="cpu")
    assert adcc.load(tmp_path / "net.onnx", device="cpu").classifier.layout == "NHWC"


def test_equal_arguments_give_equal_results() -> None:
    from adcc_onnx.report.preprocessing_report import check_to_json

    source = open_pictures([draw(7, i).image for i in range(15)])
    texts = {check_to_json(adcc.check(classifier_path(), source, device="cpu")) for _ in range(2)}
    assert len(texts) == 1
