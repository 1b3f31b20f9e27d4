"""Operators in training mode run in inference mode, and random operators draw once."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from onnx import numpy_helper

import adcc_onnx as adcc
from adcc_onnx.errors import AdccWarning, ModelError

RNG = np.random.default_rng(2)
IMAGES = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
END = (
    "pool = GlobalAveragePool (y) flat = Flatten (pool) scores = Gemm <transB = 1> (flat, weights)"
)
NORM = "(active, scale, shift, mean, variance)"
# Each: the layer in training mode, and the same layer in inference mode.
TRAINING = {
    "batch_norm": (
        f"y, m, v = BatchNormalization <training_mode = 1> {NORM}",
        f"y = BatchNormalization {NORM}",
    ),
    "batch_norm_alone": (
        f"y = BatchNormalization <training_mode = 1> {NORM}",
        f"y = BatchNormalization {NORM}",
    ),
    "dropout": ("y = Dropout (active, half, yes)", "y = Identity (active)"),
    "dropout_with_mask": ("y, kept = Dropout (active, half, yes)", "y = Identity (active)"),
}


def model_with(text: str, opset: int = 18) -> onnx.ModelProto:
    model = small(f"{text} {END}", opset=opset)
    values = {
        "scale": RNG.standard_normal(4).astype(np.float32),
        "shift": np.ones(4, np.float32),
        "mean": np.full(4, 0.3, np.float32),
        "variance": np.full(4, 2, np.float32),
        "half": np.float32(0.5),
        "yes": np.array(True),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items())
    return model


def outputs_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    exposed = adcc.expose(model, ["active"])
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"image": IMAGES, "target": np.array([0, 1, 2, 3])})
    return dict(zip((output.name for output in session.get_outputs()), found, strict=True))


@pytest.mark.parametrize("opset", [14, 15, 18, 21])
@pytest.mark.parametrize("kind", TRAINING)
def test_training_mode_equals_the_twin_in_inference_mode(kind: str, opset: int) -> None:
    model = model_with(TRAINING[kind][0], opset)
    twin = model_with(TRAINING[kind][1], opset)
    del twin.graph.initializer[:]
    twin.graph.initializer.extend(model.graph.initializer)
    with pytest.warns(AdccWarning, match=r"in training mode .*export the model after `model.eval"):
        found = outputs_of(model)
    for name, right in outputs_of(twin).items():
        np.testing.assert_allclose(found[name], right, rtol=1e-5, atol=1e-7)


RANDOM = {
    "normal_like": "noise = RandomNormalLike (active) y = Add (active, noise)",
    "uniform_like": """noise = RandomUniformLike <low = 0.5, high = 2.0> (active)
      y = Mul (active, noise)""",
    "normal": "noise = RandomNormal <shape = [1, 4, 8, 8]> () y = Add (active, noise)",
    "uniform": "noise = RandomUniform <shape = [1, 4, 8, 8]> () y = Add (active, noise)",
    "bernoulli": "chance = Sigmoid (active) kept = Bernoulli (chance) y = Mul (active, kept)",
}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_operators_draw_once(kind: str) -> None:
    with pytest.warns(AdccWarning, match=r"draws random numbers .*replaced by one fixed draw"):
        first = outputs_of(model_with_fixed(kind))
    with pytest.warns(AdccWarning):
        second = outputs_of(model_with_fixed(kind))
    for name, values in first.items():
        assert values.tobytes() == second[name].tobytes()
    # Every image gets the same draw, whatever the other images of its batch are.
    with pytest.warns(AdccWarning):
        model = adcc.load(model_with_fixed(kind), device="cpu")
    whole = adcc.explain(model, IMAGES, "gradcam", target=1)
    single = adcc.explain(model, IMAGES[2:3], "gradcam", target=1)
    np.testing.assert_allclose(whole.probabilities[2], single.probabilities[0], rtol=1e-5)
    np.testing.assert_allclose(whole.maps[2], single.maps[0], atol=1e-4)


def model_with_fixed(kind: str) -> onnx.ModelProto:
    return small(f"{RANDOM[kind]} {END}")


def test_a_random_choice_of_classes_is_refused() -> None:
    head = """flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)
      drawn = Multinomial <sample_size = 1> (logits) real = Cast <to = 1> (drawn)
      scores = Add (logits, real)"""
    with pytest.raises(ModelError, match=r"operator Multinomial .* draws classes at random"):
        adcc.load(small(head), device="cpu")
