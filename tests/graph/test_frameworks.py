"""Gradients of exported Keras and JAX models against those of the frameworks, in float64."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from adcc_onnx.exporting import load_recipe
from adcc_onnx.graph.programs.expose import expose

TARGETS = np.array([3, 0, 7])


def exposed_run(
    model: Any, images: np.ndarray, layers: list[str] | None = None
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """Run the exposed model; returns the layer, scores, activation and gradient."""
    exposed = expose(model, layers)
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(),
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["Pad_Fusion"],  # It is wrong in ResNet50V2, see runtime/session.py.
    )
    image = session.get_inputs()[0].name
    scores, activation, gradient = session.run(None, {image: images, "target": TARGETS})
    return exposed.graph.output[1].name.removesuffix(".activation"), scores, activation, gradient


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf2onnx")
    return pytest.importorskip("keras")


def keras_networks(keras: Any, name: str, size: int) -> tuple[Any, Any]:
    """Build a network in float32 and in float64, with random weights, that returns logits."""
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, name)
    options = {"weights": None, "input_shape": (size, size, 3), "classes": 10}
    model = build(classifier_activation=None, **options)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            ranges = ((0.6, 1.4), (-0.2, 0.2), (-0.2, 0.2), (0.6, 1.6))
            shapes = [value.shape for value in layer.get_weights()]
            layer.set_weights([rng.uniform(*r, s) for r, s in zip(ranges, shapes, strict=True)])
    keras.config.set_dtype_policy("float64")
    model64 = build(classifier_activation=None, **options)
    keras.config.set_dtype_policy("float32")
    model64.set_weights(model.get_weights())
    return model, model64


def tape_gradient(keras: Any, model: Any, images: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the gradient at the layer whose output is `value` [N, h, w, K]."""
    import tensorflow as tf

    candidates = [
        layer.output
        for layer in model.layers[1:]
        if not isinstance(layer.output, list) and tuple(layer.output.shape[1:]) == value.shape[1:]
    ]
    with_features = keras.Model(model.input, [*candidates, model.output])
    with tf.GradientTape() as tape:
        *features, scores = with_features(tf.constant(images, tf.float64), training=False)
        score = tf.reduce_sum(tf.gather(scores, TARGETS, batch_dims=1))
        distances = [float(np.abs(f.numpy() - value).max()) for f in features]
        best = int(np.argmin(distances))
        assert distances[best] < 1e-4 * np.abs(value).max(), (
            "no layer of the network computes this value"
        )
    gradient: np.ndarray = tape.gradient(score, features[best]).numpy()
    return gradient


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("MobileNet", marks=pytest.mark.ci),
        "MobileNetV2",
        "EfficientNetB0",
        "ResNet50V2",
        "ConvNeXtTiny",
    ],
)
@pytest.mark.slow
def test_keras_against_gradient_tape(name: str, keras: Any, tmp_path: Path) -> None:
    size = 96
    network, network64 = keras_networks(keras, name, size)
    load_recipe("keras").write(network, tmp_path / "net.onnx")
    images = np.random.default_rng(1).uniform(0, 1, (3, size, size, 3)).astype(np.float32)
    _, _, activation, gradient = exposed_run(tmp_path / "net.onnx", images)
    for perm in ((0, 1, 2, 3), (0, 2, 3, 1)):
        value = activation.transpose(perm)
        if value.shape[3] in {layer.output.shape[-1] for layer in network64.layers[-6:]}:
            expected = tape_gradient(keras, network64, images, value)
            error = relative_error(gradient.transpose(perm), expected)
            assert error < 1e-4
            return
    raise AssertionError("the default layer has no counterpart in the network")


@pytest.fixture(scope="module")
def jax_network() -> Any:
    """A Flax network in three parts: __call__ = head(after_relu(stem(x)) ** 3)."""
    jax = pytest.importorskip("jax")
    nnx = pytest.importorskip("flax.nnx")
    pytest.importorskip("jax2onnx")

    class Network(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.first = nnx.Conv(3, 16, (3, 3), strides=2, rngs=rngs)
            self.normal = nnx.BatchNorm(16, rngs=rngs, use_running_average=True)
            self.second = nnx.Conv(16, 32, (3, 3), strides=2, padding="SAME", rngs=rngs)
            self.depthwise = nnx.Conv(32, 32, (3, 3), feature_group_count=32, rngs=rngs)
            self.layer_norm = nnx.LayerNorm(32, rngs=rngs)
            self.linear = nnx.Linear(32, 10, rngs=rngs)

        def stem(self, x: Any) -> Any:
            return nnx.relu(self.normal(self.first(x)))

        def after_relu(self, x: Any) -> Any:
            x = nnx.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="SAME")
            y = nnx.silu(self.second(x))
            return y + nnx.gelu(self.layer_norm(self.depthwise(y)))

        def head(self, y: Any) -> Any:
            return self.linear(jax.numpy.mean(y, axis=(1, 2)))

        def __call__(self, x: Any) -> Any:
            return self.head(self.after_relu(self.stem(x)) ** 3)

    network = Network(nnx.Rngs(0))
    network.eval()
    return network


def test_jax_against_its_own_gradient(jax_network: Any) -> None:
    import jax
    from jax2onnx import to_onnx

    network, jnp = jax_network, jax.numpy
    images = np.random.default_rng(2).standard_normal((3, 32, 32, 3)).astype(np.float32)
    model = to_onnx(network, [("B", 32, 32, 3)], model_name="network")
    _, scores, activation, gradient = exposed_run(model, images)
    np.testing.assert_allclose(scores, network(images), rtol=1e-4, atol=1e-5)
    # The default layer is the last feature map, the cube.
    features = np.asarray(network.after_relu(network.stem(images))) ** 3
    np.testing.assert_allclose(activation, features, rtol=1e-3, atol=1e-5)
    targets = jnp.arange(3), jnp.asarray(TARGETS)
    expected = jax.grad(lambda y: network.head(y)[targets].sum())(jnp.asarray(features))
    assert relative_error(gradient, np.asarray(expected)) < 1e-4

    _, _, activation, gradient = exposed_run(model, images, ["relu_out_0"])

    def score(x: Any) -> Any:
        return network.head(network.after_relu(x) ** 3)[targets].sum()

    expected = jax.grad(score)(jnp.asarray(activation.transpose(0, 2, 3, 1)))
    assert relative_error(gradient.transpose(0, 2, 3, 1), np.asarray(expected)) < 1e-4
