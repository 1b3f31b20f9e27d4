"""One small network in PyTorch, Keras and JAX, with the same weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
SIZE, CLASSES = 32, 7
# The input and output channels and the strides of the three convolutions.
CONVOLUTIONS = ((3, 8, 1), (8, 12, 2), (12, 16, 1))


def random_weights(seed: int = 0) -> dict[str, Array]:
    """Draw the weights: kernels [out, in, 3, 3], biases, batch normalization and the head."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for number, (inputs, outputs, _) in enumerate(CONVOLUTIONS):
        scale = (2.0 / (9 * inputs)) ** 0.5
        weights[f"kernel{number}"] = rng.normal(0, scale, (outputs, inputs, 3, 3))
        weights[f"bias{number}"] = rng.normal(0, 0.1, outputs)
        for name, low, high in (
            ("gamma", 0.6, 1.4), ("beta", -0.2, 0.2), ("mean", -0.2, 0.2), ("var", 0.6, 1.6),
        ):  # fmt: skip
            weights[f"{name}{number}"] = rng.uniform(low, high, outputs)
    weights["head"] = rng.normal(0, 0.5, (CLASSES, CONVOLUTIONS[-1][1]))
    weights["offset"] = rng.normal(0, 0.1, CLASSES)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def write_torch(weights: dict[str, Array], path: Path) -> None:
    """Export the network from PyTorch."""
    import torch
    from torch import nn

    blocks: list[Any] = []
    for number, (inputs, outputs, stride) in enumerate(CONVOLUTIONS):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        normal = nn.BatchNorm2d(outputs, eps=1e-3)
        values = (
            (convolution.weight, "kernel"), (convolution.bias, "bias"), (normal.weight, "gamma"),
            (normal.bias, "beta"), (normal.running_mean, "mean"), (normal.running_var, "var"),
        )  # fmt: skip
        for value, name in values:
            assert value is not None
            value.data = torch.from_numpy(weights[f"{name}{number}"])
        blocks += [convolution, normal, nn.ReLU()]
        if number == 1:
            blocks.append(nn.MaxPool2d(2))
    head = nn.Linear(CONVOLUTIONS[-1][1], CLASSES)
    head.weight.data = torch.from_numpy(weights["head"])
    head.bias.data = torch.from_numpy(weights["offset"])
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIZE, SIZE),),
        dynamo=True,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        verbose=False,
    )
    assert program is not None
    program.save(path, external_data=False)


def write_keras(weights: dict[str, Array], path: Path) -> None:
    """Export the network from Keras, with its channels last and a softmax."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    layers = keras.layers
    image = value = keras.Input((SIZE, SIZE, 3), name="image")
    for number, (_, outputs, stride) in enumerate(CONVOLUTIONS):
        value = layers.ZeroPadding2D(1)(value)
        value = layers.Conv2D(outputs, 3, stride, name=f"conv{number}")(value)
        value = layers.BatchNormalization(epsilon=1e-3, name=f"normal{number}")(value)
        value = layers.ReLU()(value)
        if number == 1:
            value = layers.MaxPooling2D(2)(value)
    value = layers.GlobalAveragePooling2D()(value)
    network = keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(value))
    for number in range(len(CONVOLUTIONS)):
        kernel = weights[f"kernel{number}"].transpose(2, 3, 1, 0)
        network.get_layer(f"conv{number}").set_weights([kernel, weights[f"bias{number}"]])
        normal = [weights[f"{name}{number}"] for name in ("gamma", "beta", "mean", "var")]
        network.get_layer(f"normal{number}").set_weights(normal)
    network.get_layer("head").set_weights([weights["head"].T, weights["offset"]])
    network(np.zeros((1, SIZE, SIZE, 3), np.float32))  # only models that were called are exported
    network.export(str(path), format="onnx", verbose=False)


def write_jax(weights: dict[str, Array], path: Path) -> None:
    """Export the network from JAX, written as a function, with its channels last."""
    import jax
    import onnx
    from flax import nnx
    from jax import lax
    from jax import numpy as jnp
    from jax2onnx import to_onnx

    def network(x: Any) -> Any:
        for number, (_, _, stride) in enumerate(CONVOLUTIONS):
            kernel = jnp.asarray(weights[f"kernel{number}"].transpose(2, 3, 1, 0))
            x = lax.conv_general_dilated(
                x, kernel, (stride, stride), ((1, 1), (1, 1)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )  # fmt: skip
            scale = weights[f"gamma{number}"] / np.sqrt(weights[f"var{number}"] + 1e-3)
            shift = (weights[f"bias{number}"] - weights[f"mean{number}"]) * scale
            x = jax.nn.relu(x * scale + (shift + weights[f"beta{number}"]))
            if number == 1:
                x = nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        return jnp.mean(x, axis=(1, 2)) @ weights["head"].T + weights["offset"]

    onnx.save(to_onnx(network, [("B", SIZE, SIZE, 3)], model_name="network"), path)
