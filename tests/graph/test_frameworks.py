"""Models of Keras and JAX against those frameworks' own gradients, in their float64."""

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


def exposed_run(model: Any, images: np.ndarray) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """(default layer, scores, activation, gradient)."""
    exposed = expose(model)
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(),
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["Pad_Fusion"],  # wrong in ResNet50V2, see runtime/session.py
    )
    image = session.get_inputs()[0].name
    scores, activation, gradient = session.run(None, {image: images, "target": TARGETS})
    return exposed.graph.output[1].name.removesuffix(".activation"), scores, activation, gradient


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf2onnx")
    return pytest.importorskip("keras")


def keras_networks(keras: Any, name: str, size: int) -> tuple[Any, Any]:
    """The network in float32 and in float64, random weights and batch-norm statistics; logits."""
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
    wide = build(classifier_activation=None, **options)
    keras.config.set_dtype_policy("float32")
    wide.set_weights(model.get_weights())
    return model, wide


def tape_gradient(keras: Any, model: Any, images: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The gradient at the layer whose output is `value` [N, h, w, K], by tf.GradientTape."""
    import tensorflow as tf

    alike = [
        layer.output
        for layer in model.layers[1:]
        if not isinstance(layer.output, list) and tuple(layer.output.shape[1:]) == value.shape[1:]
    ]
    shown = keras.Model(model.input, [*alike, model.output])
    with tf.GradientTape() as tape:
        *features, scores = shown(tf.constant(images, tf.float64), training=False)
        score = tf.reduce_sum(tf.gather(scores, TARGETS, batch_dims=1))
        distances = [float(np.abs(f.numpy() - value).max()) for f in features]
        best = int(np.argmin(distances))
        assert distances[best] < 1e-4 * np.abs(value).max(), "no layer of the network is this one"
    gradient: np.ndarray = tape.gradient(score, features[best]).numpy()
    return gradient


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV2",
        pytest.param("EfficientNetB0", marks=pytest.mark.slow),
        pytest.param("ResNet50V2", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
    ],
)
def test_keras_against_gradient_tape(name: str, keras: Any, tmp_path: Path) -> None:
    size = 96
    network, wide = keras_networks(keras, name, size)
    load_recipe("keras").write(network, tmp_path / "net.onnx")
    images = np.random.default_rng(1).uniform(0, 1, (3, size, size, 3)).astype(np.float32)
    _, _, activation, gradient = exposed_run(tmp_path / "net.onnx", images)
    for turned in ((0, 1, 2, 3), (0, 2, 3, 1)):
        value = activation.transpose(turned)
        if value.shape[3] in {layer.output.shape[-1] for layer in wide.layers[-6:]}:
            wanted = tape_gradient(keras, wide, images, value)
            error = relative(gradient.transpose(turned), wanted)
            print(f"{name}: {error:.1e}")
            assert error < 1e-4
            return
    raise AssertionError("the default layer has no counterpart in the network")


def test_the_keras_recipe_writes_a_model_and_its_card(keras: Any, tmp_path: Path) -> None:
    recipe = load_recipe("keras")
    assert {"MobileNetV2", "ResNet50V2", "VGG16", "ConvNeXtTiny"} <= set(recipe.names())
    facts = recipe.export("MobileNet", "none", tmp_path / "net.onnx")
    assert (facts["size"], facts["layout"], facts["scores"]) == (224, "NHWC", "probabilities")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.float32)
    ours = (pixels / facts["scale"] - facts["mean"]) / facts["std"]
    theirs = keras.applications.mobilenet.preprocess_input(pixels.copy())
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("name", ["VGG16", "DenseNet121", "ResNet50V2", "Xception", "ConvNeXtTiny"])
def test_keras_preprocessing_is_each_familys_own(name: str, keras: Any) -> None:
    recipe = load_recipe("keras")
    steps = next(steps for family, steps in recipe.FAMILIES if name.startswith(family))
    module = {"VGG16": "vgg16", "DenseNet121": "densenet", "ResNet50V2": "resnet_v2"}
    own = getattr(keras.applications, module.get(name, name.removesuffix("Tiny").lower()))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.float32)
    ordered = pixels if steps["channels"] == "RGB" else pixels[..., ::-1]
    ours = (ordered / steps["scale"] - steps["mean"]) / steps["std"]
    np.testing.assert_allclose(ours, own.preprocess_input(pixels.copy()), atol=1e-4)


def test_jax_against_its_own_gradient() -> None:
    jax = pytest.importorskip("jax")
    nnx = pytest.importorskip("flax.nnx")
    to_onnx = pytest.importorskip("jax2onnx").to_onnx
    jnp = jax.numpy

    class Network(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.first = nnx.Conv(3, 16, (3, 3), strides=2, rngs=rngs)
            self.normal = nnx.BatchNorm(16, rngs=rngs, use_running_average=True)
            self.second = nnx.Conv(16, 32, (3, 3), strides=2, padding="SAME", rngs=rngs)
            self.depthwise = nnx.Conv(32, 32, (3, 3), feature_group_count=32, rngs=rngs)
            self.layer_norm = nnx.LayerNorm(32, rngs=rngs)
            self.linear = nnx.Linear(32, 10, rngs=rngs)

        def features(self, x: Any) -> Any:
            x = nnx.relu(self.normal(self.first(x)))
            x = nnx.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="SAME")
            y = nnx.silu(self.second(x))
            return y + nnx.gelu(self.layer_norm(self.depthwise(y)))

        def head(self, y: Any) -> Any:
            return self.linear(jnp.mean(y, axis=(1, 2)))

        def __call__(self, x: Any) -> Any:
            return self.head(self.features(x) ** 3)

    network = Network(nnx.Rngs(0))
    network.eval()
    images = np.random.default_rng(2).standard_normal((3, 32, 32, 3)).astype(np.float32)
    model = to_onnx(network, [("B", 32, 32, 3)], model_name="network")
    _, scores, activation, gradient = exposed_run(model, images)
    np.testing.assert_allclose(scores, network(images), rtol=1e-4, atol=1e-5)
    features = np.asarray(network.features(images))
    # The default layer is the last map: the features' cube.
    np.testing.assert_allclose(activation, features**3, rtol=1e-3, atol=1e-5)
    chosen = jnp.arange(3), jnp.asarray(TARGETS)
    wanted = jax.grad(lambda y: network.head(y)[chosen].sum())(jnp.asarray(features**3))
    assert relative(gradient, np.asarray(wanted)) < 1e-4

    early = expose(model, ["relu_out_0"])
    session = onnxruntime.InferenceSession(
        early.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {session.get_inputs()[0].name: images, "target": TARGETS}
    _, value, found = session.run(None, feeds)

    def rest(x: Any) -> Any:
        x = nnx.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="SAME")
        y = nnx.silu(network.second(x))
        y = y + nnx.gelu(network.layer_norm(network.depthwise(y)))
        return network.head(y**3)[chosen].sum()

    wanted = jax.grad(rest)(jnp.asarray(value.transpose(0, 2, 3, 1)))
    assert relative(found.transpose(0, 2, 3, 1), np.asarray(wanted)) < 1e-4
