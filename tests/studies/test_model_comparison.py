"""A model against its changed forms: what differs, and where the graphs diverge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from onnx import numpy_helper
from onnxruntime import quantization
from scipy import stats

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError, UnknownLayerError
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.model import Model
from adcc_onnx.report.model_comparison_report import (
    comparison_to_json,
    comparison_to_text,
    verdict,
)

IMAGES = "drawings:6"
# Where the differences of the scores do not matter.
FEW = (["layercam"], ["coherency"])
# The output of a convolution of the built-in classifier, and the weights that tests change.
LAYER, WEIGHTS = "/6/second/second.0/Conv_output_0", ("onnx::Conv_84", "onnx::Conv_85")


@pytest.fixture(scope="module")
def original() -> Model:
    return adcc.load(classifier_path(), device="cpu")


@pytest.fixture(scope="module")
def steps(original: Model) -> adcc.Preprocessing:
    assert original.preprocessing is not None
    return original.preprocessing


def changed(change: Callable[[np.ndarray], np.ndarray], *names: str) -> onnx.ModelProto:
    """The built-in classifier with changed weights; all convolutions' without names."""
    proto = onnx.load(classifier_path())
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in names or (not names and values.ndim == 4):
            new = change(values).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    return proto


def loaded(proto: onnx.ModelProto, steps: adcc.Preprocessing) -> Model:
    proto.graph.name = "changed"
    return adcc.load(proto, preprocessing=steps, device="cpu")


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, model: Model) -> None:
        assert model.preprocessing is not None
        tensors = [model.preprocessing(record.load()) for record in as_source("drawings:24@5")]
        self._feeds: Iterator[dict[str, np.ndarray]] = iter([{"image": t[None]} for t in tensors])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


@pytest.fixture(scope="module")
def int8(original: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    quantization.quantize_static(
        classifier_path(), path, Calibration(original), quantization.QuantFormat.QDQ
    )
    return path


def test_an_equal_model_gives_one_line(original: Model) -> None:
    again = adcc.load(classifier_path(), device="cpu")
    found = adcc.compare_models(original, again, IMAGES)
    assert found.is_equal and not found.exceeding(0.0)
    assert found.outputs.largest == 0.0 and found.outputs.same_prediction == 6
    text = comparison_to_text(found)
    assert text == "no difference: classifier (1) and classifier (2) agree on 6 images\n"
    assert {one.by for one in found.walk.layers} == {"name"} and len(found.walk.layers) >= 17


def test_a_wrong_scale_is_found_and_its_layer_named(
    original: Model, steps: adcc.Preprocessing
) -> None:
    planted = loaded(changed(lambda w: 1.25 * w, *WEIGHTS), steps)
    found = adcc.compare_models(original, planted, IMAGES, *FEW)
    parting = found.walk.parting
    assert parting is not None and parting.first == parting.second == LAYER
    assert parting.activation == pytest.approx(0.25, abs=1e-4)
    assert parting.factor == pytest.approx(1.25, abs=1e-4) and parting.inherited == 0.0
    assert found.walk.largest_step is parting
    before = found.walk.layers[: found.walk.layers.index(parting)]
    assert before and all(one.activation == 0.0 for one in before)
    text = comparison_to_text(found)
    assert f"the graphs diverge at layer '{LAYER}'" in text and "1.25 times as large" in text


def test_maps_and_outputs_against_scipy(original: Model, steps: adcc.Preprocessing) -> None:
    planted = loaded(changed(lambda w: 1.25 * w, *WEIGHTS), steps)
    found = adcc.compare_models(original, planted, IMAGES, *FEW)
    a = adcc.explain(original, IMAGES, "layercam")
    b = adcc.explain(planted, IMAGES, "layercam", [int(c) for c in a.targets])
    r = [stats.pearsonr(x.ravel(), y.ravel())[0] for x, y in zip(a.maps, b.maps, strict=True)]
    (maps,) = found.maps
    assert (maps.correlation, maps.lowest) == pytest.approx((np.mean(r), min(r)), abs=1e-6)
    gaps = np.abs(a.maps - b.maps)
    assert (maps.mean, maps.largest) == pytest.approx((gaps.mean(), gaps.max()), abs=1e-6)
    change = b.probabilities - a.probabilities
    assert found.outputs.probability.value == pytest.approx(change.mean(), abs=1e-9)
    assert found.outputs.mean == pytest.approx(np.abs(change).mean(), abs=1e-9)
    (score,) = found.scores
    same = adcc.evaluate(original, IMAGES, "layercam", "coherency", controls=False)
    assert score.first == pytest.approx(same.methods["layercam"].scores["coherency"], abs=1e-12)
    assert score.difference.value == pytest.approx(score.second - score.first, abs=1e-12)


def test_quantization_gets_a_verdict_with_an_interval(
    original: Model, int8: Path, steps: adcc.Preprocessing
) -> None:
    found = adcc.compare_models(original, adcc.load(int8, steps, device="cpu"), IMAGES)
    assert not found.is_equal and not found.notes
    shift = found.outputs.probability
    assert shift.interval is not None and shift.interval[0] <= shift.value <= shift.interval[1]
    assert all(one.activation < 0.2 for one in found.walk.layers)
    first, *_, last = verdict(found)
    assert first.startswith("classifier and int8 predict the same class for")
    assert "differ significantly" in last or "differs significantly" in last


def test_a_wrong_scale_in_a_quantized_model_is_the_largest_step(
    original: Model, int8: Path, steps: adcc.Preprocessing
) -> None:
    proto = onnx.load(int8)
    for tensor in proto.graph.initializer:
        if tensor.name == f"{WEIGHTS[0]}_scale":
            planted = (1.6 * numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(planted, tensor.name))
    found = adcc.compare_models(original, loaded(proto, steps), IMAGES, *FEW)
    parting, step = found.walk.parting, found.walk.largest_step
    assert parting is not None and parting.first != LAYER  # quantization parts the graphs earlier
    assert step is not None and step.first == LAYER and step.activation > 10 * step.inherited
    assert any(f"the largest step is at layer '{LAYER}'" in line for line in verdict(found))


def test_half_precision_is_rounding(original: Model, steps: adcc.Preprocessing) -> None:
    half = adcc.load(classifier_path(), steps, device="cpu", precision="fp16")
    found = adcc.compare_models(original, half, IMAGES, *FEW)
    assert found.walk.rounding == 2e-2 and found.walk.parting is None
    assert found.outputs.same_prediction == 6 and found.outputs.largest < 0.01
    assert not found.exceeding(0.02)


def test_pruned_weights(original: Model, steps: adcc.Preprocessing) -> None:
    def prune(weights: np.ndarray) -> np.ndarray:
        return np.where(np.abs(weights) < np.quantile(np.abs(weights), 0.3), 0.0, weights)

    found = adcc.compare_models(original, loaded(changed(prune), steps), IMAGES, *FEW)
    parting = found.walk.parting
    assert parting is not None and parting is found.walk.layers[0] and parting.factor is None


def test_a_graph_that_onnxruntime_fused_is_equal(
    original: Model, steps: adcc.Preprocessing, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(classifier_path(), options, providers=["CPUExecutionProvider"])
    fused = adcc.load(tmp_path / "fused.onnx", steps, device="cpu")
    found = adcc.compare_models(original, fused, IMAGES)
    assert found.is_equal, verdict(found)
    assert len(found.walk.layers) >= 10 and len(verdict(found)) == 1


def test_other_numbers_of_classes_are_an_error() -> None:
    first = adcc.load(small(), device="cpu")
    proto = small("scores = Flatten (pooled)")
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    with pytest.raises(OptionError, match=r"has 5 classes and .* has 4"):
        adcc.compare_models(first, adcc.load(proto, device="cpu"), np.zeros((2, 3, 8, 8), "f"))


def test_other_input_sizes_are_an_error() -> None:
    first = adcc.load(small(), device="cpu")
    proto = small()
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 6
    with pytest.raises(OptionError, match=r"takes images of 8 x 8 pixels and .* of 6 x 6"):
        adcc.compare_models(first, adcc.load(proto, device="cpu"), np.zeros((2, 3, 8, 8), "f"))


def test_other_class_names_are_an_error(original: Model) -> None:
    assert original.labels is not None
    renamed = original.with_labels([*original.labels[:-1], "another"])
    with pytest.raises(OptionError, match=r"class 9 is '.*' in classifier and 'another' in"):
        adcc.compare_models(original, renamed, IMAGES)


def test_a_layer_that_the_second_model_lacks_is_named(original: Model, tmp_path: Path) -> None:
    proto = small()
    onnx.save(proto, tmp_path / "a.onnx")
    other = small()
    for node in other.graph.node:
        node.output[:] = [o.replace("features", "renamed") for o in node.output]
        node.input[:] = [i.replace("features", "renamed") for i in node.input]
    onnx.save(other, tmp_path / "b.onnx")
    images = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    found = adcc.compare_models(
        tmp_path / "a.onnx", tmp_path / "b.onnx", images, layers="features", device="cpu"
    )
    assert found.layers == ("features", "renamed") and found.is_equal
    with pytest.raises(UnknownLayerError, match="nothing"):
        adcc.compare_models(
            tmp_path / "a.onnx", tmp_path / "b.onnx", images, layers="nothing", device="cpu"
        )


def test_without_gradients_the_outputs_are_still_compared(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "a.onnx")
    # No gradient passes through Mod.
    head = """flat = Flatten (pooled) y = Gemm <transB = 1> (flat, weights)
        big = Constant <value = float {1000.0}> () scores = Mod <fmod = 1> (y, big)"""
    onnx.save(small(head), tmp_path / "b.onnx")
    images = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    found = adcc.compare_models(tmp_path / "a.onnx", tmp_path / "b.onnx", images, device="cpu")
    assert found.outputs.largest == 0.0 and found.outputs.same_prediction == 3
    assert not found.maps and not found.scores
    assert all(one.activation == 0.0 and one.gradient is None for one in found.walk.layers)
    assert len(found.notes) == 2 and "could not be compared" in found.notes[1]


def test_unreadable_images_are_counted(original: Model, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (112, 112, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"not an image")
    again = adcc.load(classifier_path(), device="cpu")
    found = adcc.compare_models(original, again, tmp_path, ["gradcam"])
    assert (found.images, found.planned, list(found.failures)) == (3, 4, ["3.png"])
    assert "1 image could not be compared: 3.png" in comparison_to_text(found)


def test_an_interrupted_comparison_keeps_the_finished_images(original: Model) -> None:
    again = adcc.load(classifier_path(), device="cpu", batch_size=2)
    first = original.with_settings(batch=2)
    calls = iter(range(1000))  # each of the three batches asks four times
    found = adcc.compare_models(
        first, again, IMAGES, *FEW, graceful=lambda: nullcontext(lambda: next(calls) > 5)
    )
    assert found.interrupted and 0 < found.images < found.planned == 6
    assert found.is_equal and found.images % 2 == 0


def test_json_is_complete_and_equal_for_equal_runs(
    original: Model, steps: adcc.Preprocessing
) -> None:
    planted = loaded(changed(lambda w: 1.25 * w, *WEIGHTS), steps)
    texts = {
        comparison_to_json(adcc.compare_models(original, planted, "drawings:3"), 0.001)
        for _ in range(2)
    }
    (text,) = texts
    record = json.loads(text)
    assert record["parting"] == LAYER and record["equal"] is False and record["exceeding"]
    adcc_of = record["scores"]["gradcam"]["adcc"]
    assert adcc_of["difference"] == pytest.approx(adcc_of["second"] - adcc_of["first"], abs=1e-8)
    assert set(record["maps"]) == {"gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"}
