"""int8: passes in integer kernels, calibrated on the first images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx import model as adcc_model
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import AdccError, ModelError, OptionError, StoreError
from adcc_onnx.evaluation import pipeline
from adcc_onnx.evaluation.cost_estimate import estimate
from adcc_onnx.evaluation.evaluation_cost import evaluation_cost
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.explanation import autotuned_model
from adcc_onnx.explanation.calibrated_model import with_stored_calibration
from adcc_onnx.explanation.samples import samples
from adcc_onnx.graph.programs.tensor_names import ACTIVATIONS, GRADIENTS, IMAGE, LOGITS, TARGET
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.images.sources.open_images import open_source
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.autotuning import AutotuneResult
from adcc_onnx.runtime.calibration import Calibration
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.precisions import machine_precisions
from adcc_onnx.runtime.run_settings import RunSettings

if not next(one for one in machine_precisions() if one.name == "int8").available:
    pytest.skip("the CPU has no 8-bit dot product", allow_module_level=True)

N = 24
IMAGES = np.random.default_rng(1).standard_normal((N, 3, 8, 8)).astype(np.float32)
METHODS = ["gradcam", "eigencam", "scorecam", "saliency"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(small(), found)
    return found


def evaluate(path: Path, images: Any = IMAGES, **options: Any) -> adcc.EvaluationResult:
    options = {"precision": "int8", "device": "cpu", "batch_size": 8, **options}
    return adcc.evaluate(path, images, METHODS, controls=False, thumbnails=False, **options)


def rows(result: adcc.EvaluationResult) -> dict[tuple[str, str], Any]:
    found = result.per_image(as_dataframe=False)
    return {(row["image"], row["method"]): row for row in found}


def test_the_pass_is_that_of_a_quantized_convolution_and_a_float32_head(path: Path) -> None:
    """The definition of affine quantization by hand, with the convolution of integers by torch."""
    torch = pytest.importorskip("torch")
    model = adcc.load(path, device="cpu", precision="int8").calibrated(IMAGES)
    classes = np.arange(N) % 5
    found = model.pool.session(Pass.GRADIENTS).run({IMAGE: IMAGES, TARGET: classes})
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in small().graph.initializer}
    low = np.quantile(IMAGES.min(axis=(1, 2, 3)), 0.1)
    high = np.quantile(IMAGES.max(axis=(1, 2, 3)), 0.9)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    pixels = np.clip(np.round(IMAGES / scale) + zero, 0, 255) - zero
    kernel = weights["kernel"]
    steps = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
    products = torch.nn.functional.conv2d(
        torch.tensor(pixels, dtype=torch.float64),
        torch.tensor(np.round(kernel / steps), dtype=torch.float64),
        padding=1,
    ).numpy()  # fmt: skip
    features = products * scale * steps.reshape(1, -1, 1, 1)
    exact = torch.nn.functional.conv2d(torch.tensor(IMAGES), torch.tensor(kernel), padding=1)
    top = np.quantile(exact.numpy().max(axis=(1, 2, 3)), 0.9)
    np.testing.assert_allclose(found[ACTIVATIONS], np.clip(features, 0, top), atol=2 * top / 255)
    pooled = found[ACTIVATIONS].mean(axis=(2, 3))
    np.testing.assert_allclose(found[LOGITS], pooled @ weights["weights"].T, atol=1e-5)
    expected = np.broadcast_to(weights["weights"][classes][:, :, None, None] / 64, (N, 4, 8, 8))
    np.testing.assert_allclose(found[GRADIENTS], expected, atol=1e-7)


def test_the_pass_runs_in_integer_kernels(path: Path, tmp_path: Path) -> None:
    """Scores differ from those of the same graph in real numbers by their rounding, if at all."""
    import onnxruntime

    model = adcc.load(path, device="cpu", precision="int8").calibrated(IMAGES)
    assert model.pool.cheaper is not None
    place = model.pool.cheaper.place
    quantized = ir.to_proto(place.classifier.model)
    kinds = [node.op_type for node in quantized.graph.node]
    assert kinds.count("Conv") == 1 and "QuantizeLinear" in kinds
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.add_session_config_entry("session.disable_quant_qdq", "0")
    session = onnxruntime.InferenceSession(
        quantized.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    optimized = onnx.load(tmp_path / "optimized.onnx")
    assert "QLinearConv" in [node.op_type for node in optimized.graph.node]
    own = model.pool.session(Pass.FORWARD).run({IMAGE: IMAGES})[LOGITS]
    np.testing.assert_allclose(own, session.run(None, {"image": IMAGES})[0], atol=1e-6)


def test_passes_whose_gradients_reach_the_image_are_exact(path: Path) -> None:
    exact, cheap = (
        rows(adcc.evaluate(path, IMAGES, "saliency", controls=False, device="cpu", precision=p))
        for p in ("fp32", "int8")
    )
    assert exact == cheap
    together = rows(evaluate(path))
    for (image, method), row in exact.items():
        other = together[image, method]
        assert {**other, "probability": row["probability"]} == row
    assert any(together[key]["probability"] != row["probability"] for key, row in exact.items())


def test_classes_and_what_explains_them_are_those_that_float32_predicts() -> None:
    """Also between two classes, where the scores of the integer pass are highest for the other."""
    exact = adcc.load(classifier_path(), device="cpu", precision="fp32")
    source = open_source("drawings:24")
    drawings = np.stack([one.tensor for one in samples(source, exact) if one.tensor is not None])
    cheap = adcc.load(classifier_path(), device="cpu", precision="int8").calibrated(drawings)

    def classes(model: adcc.Model, part: Any) -> Any:
        part = np.reshape(part, (-1, 1, 1, 1))
        images = (drawings[0] + part * (drawings[1] - drawings[0])).astype(np.float32)
        return images, model.pool.session(Pass.FORWARD).run({IMAGE: images})[LOGITS].argmax(axis=1)

    low, high = 0.0, 1.0  # the first drawing, and the second one
    (first, second) = classes(exact, [low, high])[1]
    assert first != second
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if classes(exact, middle)[1][0] == first else (low, middle)
    images, predicted = classes(exact, np.linspace(low - 0.01, low + 0.01, 60))
    changed = classes(cheap, np.linspace(low - 0.01, low + 0.01, 60))[1] != predicted
    assert 0 < changed.sum() < 60
    found = adcc.explain(cheap, images, "gradcam")
    np.testing.assert_array_equal(found.predicted, predicted)
    np.testing.assert_array_equal(found.targets, predicted)
    others = adcc.explain(cheap, images, "gradcam", target=predicted.tolist())
    np.testing.assert_allclose(found.maps, others.maps, atol=1e-6)


@pytest.mark.parametrize(
    ("methods", "metrics", "passes"),
    [
        (["gradcam"], ["adcc"], 1),
        (["gradcam"], ["drop_in_deletion"], 1),
        (["gradcam"], ["infidelity(samples=3)"], 1),
        (["saliency"], ["complexity", "coherency"], 1),  # no metric reads a probability
        (["saliency"], ["adcc"], 1),  # p(e) comes from a pass in float32, too
        (["saliency"], ["average_drop"], 2),
        (["saliency", "gradcam"], ["adcc"], 2),
    ],
)
def test_p_of_the_images_is_computed_in_every_precision_that_metrics_compare_it_with(
    path: Path, methods: list[str], metrics: list[str], passes: int
) -> None:
    """The run, its progress and the estimate count the same passes."""
    model = adcc.load(path, device="cpu", precision="int8", batch_size=4).calibrated(IMAGES)
    plan, tracker = make_plan(methods, metrics, target=0), RunTracker("net", 4)
    found = estimate(model, plan)
    assert found.shared.total() == evaluation_cost(model, plan, 4).parts[0].passes == passes
    tracker.expected = found.expected
    before = tracker.snapshot().expected_passes
    with Store.create(None) as store:
        evaluate_into(store, model, as_source(IMAGES[:4]), plan, "images", tracker)
    after = tracker.snapshot()
    assert after.passes == after.expected_passes == before


@pytest.mark.parametrize("batch", [1, 5])
def test_results_do_not_depend_on_the_batch(path: Path, batch: int) -> None:
    whole, other = (rows(evaluate(path, batch_size=size)) for size in (8, batch))
    for key, row in whole.items():
        for name, value in row.items():
            if isinstance(value, float) and name != "seconds":
                assert other[key][name] == pytest.approx(value, abs=1e-6), (key, name)


def test_the_calibration_is_recorded_and_taken_from_a_run_that_is_continued(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(path, out=tmp_path / "whole.sqlite")
    batch = pipeline.evaluate_batch

    class CutOffError(Exception):
        pass

    def cut_off(model: Any, plan: Any, group: Any) -> Any:
        if group[0].position >= 8:
            raise CutOffError
        yield from batch(model, plan, group)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "evaluate_batch", cut_off)
        with pytest.raises(CutOffError):
            evaluate(path, out=tmp_path / "run.sqlite")
    # Another machine would measure slightly different ranges.
    monkeypatch.setattr("adcc_onnx.model.calibrate", None)
    evaluate(path, out=tmp_path / "run.sqlite", resume=True)
    whole, resumed = (
        adcc.read_results(tmp_path / name)[0] for name in ("whole.sqlite", "run.sqlite")
    )
    assert rows(whole) == rows(resumed)
    with Store.open(tmp_path / "run.sqlite") as store:
        config = store.runs()[0].config
    assert config["calibration"]["images"] == N and config["calibration"]["provider"] == "cpu"
    assert config["precision"] == "int8" and len(config["calibration_ranges"]["ranges"]) > 1


def test_a_damaged_calibration_and_one_of_an_earlier_version(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run.sqlite"
    evaluate(path, out=out)
    model = adcc.load(path, device="cpu", precision="int8")
    with Store.open(out) as store:
        run, config, complete = store.configs()["net"]
    whole = config["calibration_ranges"]
    again = Calibration.from_record(whole)
    assert again.record() == whole and set(again.means) == {"image"}
    np.testing.assert_allclose(again.means["image"], IMAGES.mean(axis=(0, 2, 3)), atol=1e-6)
    for damaged in ({**whole, "means": {"image": "?"}}, {**whole, "ranges": {"image": [1]}}):
        stored = {"net": (run, {**config, "calibration_ranges": damaged}, complete)}
        monkeypatch.setattr(Store, "configs", lambda self, stored=stored: stored)
        with pytest.raises(StoreError, match="the calibration of net is damaged"):
            with_stored_calibration(model, out)
    earlier = {"images": whole["images"], "ranges": whole["ranges"]}
    stored = {"net": (run, {**config, "calibration_ranges": earlier}, complete)}
    monkeypatch.setattr(Store, "configs", lambda self: stored)
    assert with_stored_calibration(model, out) is model


def test_other_calibrations_are_not_merged(path: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "1.sqlite", tmp_path / "2.sqlite"]
    for part, images in zip(parts, (IMAGES[:12], IMAGES[12:]), strict=True):
        evaluate(path, images, out=part)
    with pytest.raises(StoreError, match=r"made differently.*calibration"):
        adcc.merge(parts, tmp_path / "merged.sqlite")


def test_anchors_correct_int8(path: Path, tmp_path: Path) -> None:
    exact = evaluate(path, precision="fp32")
    out = tmp_path / "run.sqlite"
    found = evaluate(path, anchor=12, out=out)
    assert found.anchors is not None and found.anchors.precision == "int8"
    for name in METHODS:
        low, high = found.methods[name].intervals["adcc"]
        assert low < exact.methods[name].scores["adcc"] < high
    with Store.open(out) as store:
        table = render([store], "table")
    assert "ADCC in int8" in table and "12 random images" in table


def test_models_that_cannot_be_quantized(path: Path) -> None:
    with pytest.raises(ModelError, match=r"int8 quantizes float32 models.*use --precision auto"):
        adcc.load(small(kind="double"), device="cpu", precision="int8")
    model = adcc.load(path, device="cpu", precision="int8").calibrated(IMAGES)
    assert model.pool.cheaper is not None
    quantized = ir.to_proto(model.pool.cheaper.place.classifier.model)
    with pytest.raises(ModelError, match=r"quantized already.*use --precision auto"):
        adcc.load(quantized, device="cpu", precision="int8")


def test_a_model_must_be_calibrated() -> None:
    model = adcc.load(classifier_path(), device="cpu", precision="int8")
    with pytest.raises(OptionError, match="must be calibrated on images first"):
        model.pool.session(Pass.FORWARD)
    with pytest.raises(OptionError, match="at least one image"):
        model.calibrated(np.empty((0, 3, 112, 112), np.float32))


def test_randomize_calibrates_the_model_of_each_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[int] = []
    calibrate = adcc_model.calibrate
    monkeypatch.setattr(
        adcc_model,
        "calibrate",
        lambda *given: (calibrated.append(len(given[1])), calibrate(*given))[1],
    )
    said: list[str] = []
    methods = ["gradcam", "scorecam"]
    exact, cheap = (
        adcc.randomize(
            path, IMAGES, methods, steps=2, device="cpu", precision=p, notify=said.append
        )
        for p in ("fp32", "int8")
    )
    assert calibrated == [N] * 3
    assert said[-1] == f"net: calibrated for int8 on the first {N} images"
    for one, other in zip(exact, cheap, strict=True):
        for method in methods:
            assert one.similarity[method] != other.similarity[method]
            assert one.similarity[method] == pytest.approx(other.similarity[method], abs=0.1)


def test_compare_models_calibrates_both(path: Path) -> None:
    said: list[str] = []
    options: dict[str, Any] = {"device": "cpu", "precision": "int8", "notify": said.append}
    assert adcc.compare_models(path, path, IMAGES, "gradcam", "adcc", **options).is_equal
    assert said[-2:] == [f"net ({k}): calibrated for int8 on the first {N} images" for k in (1, 2)]
    exact, cheap = (adcc.load(path, device="cpu", precision=p) for p in ("fp32", "int8"))
    found = adcc.compare_models(exact, cheap, IMAGES, "gradcam", "adcc")
    assert 0.0 < found.outputs.largest < 0.02
    assert found.walk is not None and all(one.activation == 0.0 for one in found.walk.layers)
    assert any(one.difference.value for one in found.scores)


def test_check_runs_the_images_in_float32() -> None:
    exact, cheap = (
        adcc.check(classifier_path(), "drawings:12", device="cpu", precision=p)
        for p in ("fp32", "int8")
    )
    assert exact == cheap


def test_images_of_which_none_can_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(AdccError, match="none of the first 1 can be decoded"):
        adcc.evaluate(classifier_path(), tmp_path, "gradcam", precision="int8", device="cpu")


def test_scores_of_a_trained_model_stay_close() -> None:
    """Maps of second passes correlate, and no mean moves by more than a point."""
    results = [
        adcc.evaluate(
            classifier_path(), "drawings:24", ["gradcam", "layercam"],
            ["adcc", "insertion(steps=14)"], controls=False, device="cpu", batch_size=8,
            precision=precision,
        )
        for precision in ("fp32", "int8")
    ]  # fmt: skip
    for name, method in results[0].methods.items():
        for score, value in method.scores.items():
            if score != "average_increase":  # flips at equal probabilities
                assert results[1].methods[name].scores[score] == pytest.approx(value, abs=0.01)


def test_autotuning_chooses_the_fastest_device_and_says_so(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second device is the first one by another name, which is twice as fast."""
    plain = adcc.load(path, device="cpu", precision="int8").calibrated(IMAGES)
    other = replace(plain.device, name="openvino:CPU")
    model = replace(plain, device=replace(plain.device, alternatives=(other,)))
    speeds = {"cpu": 100.0, "openvino:CPU": 200.0}
    monkeypatch.setattr(
        autotuned_model,
        "autotune",
        lambda pool, kind, _: AutotuneResult(RunSettings(4), speeds[pool.device.name]),
    )
    monkeypatch.setattr(autotuned_model, "relative_time", lambda pool, kind: 0.25)
    lines: list[str] = []
    found = autotuned_model.autotuned(model, frozenset(), lines.append)
    assert found.device.name == "openvino:CPU" and found.device.alternatives == ()
    assert lines == [
        "net: --device openvino is the fastest for int8 (images/s per pass: cpu 100, openvino 200)",
        "net: autotuned: 4 images per run (200 images/s per pass); a pass in int8 takes 0.25 times "
        "as long as in float32",
    ]
    # A run that is continued stays where it began.
    adcc.evaluate(found, IMAGES, "gradcam", out=tmp_path / "run.sqlite")
    continued = with_stored_calibration(replace(model, calibration=None), tmp_path / "run.sqlite")
    assert continued.device.name == "openvino:CPU" and continued.device.alternatives == ()
    monkeypatch.setattr(autotuned_model, "relative_time", lambda pool, kind: 1.5)
    autotuned_model.autotuned(plain, frozenset(), lines.append)
    assert lines[-1].endswith("so that --precision fp32 --device cpu is the better choice")


def test_models_with_one_calibration_share_the_quantized_graph(path: Path) -> None:
    model = adcc.load(path, device="cpu", precision="int8").calibrated(IMAGES)
    other = model.with_settings(batch=2)
    assert model.pool.cheaper is not None and other.pool.cheaper is not None
    assert model.pool.cheaper.place.classifier is other.pool.cheaper.place.classifier
