"""Export of Keras applications to ONNX with model cards: `adcc-onnx export keras:NAME`.

The backend is the one that Keras uses: the environment variable KERAS_BACKEND selects "tensorflow",
"jax" or "torch".
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from adcc_onnx.errors import OptionError, first_line
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.recipe_loading import require_name
from adcc_onnx.exporting.weights_download import downloading

# Output of the last convolutional stage: the target layer in the CAM literature.
LAYERS = {"VGG16": "block5_conv3", "VGG19": "block5_conv4"}
_CACHE = "~/.keras/models"


def names() -> list[str]:
    """List the names of the available classifiers."""
    return sorted(_families())


def preprocessing(name: str) -> dict[str, Any]:
    """Return the keys of the card that describe the family's own `preprocess_input`.

    Args:
        name: Name of the classifier, one of `names()`.

    Returns:
        The keys scale, mean, std and channels.

    Example:
        >>> preprocessing("MobileNetV2")["scale"]  # doctest: +SKIP
        127.5
    """
    function = _families()[name].preprocess_input
    # Rows: black, then full red, green and blue.
    pixels = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).astype(np.float32)
    found = np.asarray(function(pixels.reshape(4, 1, 1, 3).copy())).reshape(4, 3).astype(np.float64)
    slopes = (found[1:] - found[0]).T / 255.0  # [channel of the tensor, color]
    order = np.abs(slopes).argmax(axis=1)
    # x = (pixel / scale - mean) / std, with the scale that documentation uses.
    scale = 1.0 / slopes[range(3), order]
    common = next((s for s in (1.0, 127.5, 255.0) if np.allclose(scale, s, rtol=1e-5)), 255.0)
    std = np.round(scale / common, 6)
    return {
        "scale": common,
        "mean": np.round(-found[0] * std, 6).tolist(),
        "std": std.tolist(),
        "channels": "BGR" if order[0] == 2 else "RGB",
    }


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Export a classifier.

    Args:
        name: Name of the classifier, one of `names()`.
        weights: "default" (ImageNet weights, downloaded by Keras), "none" (random), or the path of
            a Keras file.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: The Keras file does not exist or holds no weights of this classifier.
        ModelError: The weights cannot be downloaded.
    """
    require_name("keras", name, names())
    model = _build(name, weights)
    size = int(model.input_shape[1])
    write(model, path)
    card = {
        "size": size,
        "resize": round(size * 256 / 224),
        "interpolation": "bilinear",
        **preprocessing(name),
        "layout": "NHWC",
        "layer": _layer(path, LAYERS.get(name)),
        "scores": "probabilities",
        "about": {
            "source": f"keras {keras.__version__} ({keras.backend.backend()}), {name}",
            "weights": "none (random)" if weights == "none" else weights,
        },
    }
    return ExportedNetwork(card, lambda images: np.asarray(model.predict(images, verbose=0)))


def _families() -> dict[str, Any]:
    """Return the module of each classifier, which holds its `preprocess_input`."""
    modules = [
        module
        for _, module in inspect.getmembers(keras.applications, inspect.ismodule)
        if hasattr(module, "preprocess_input")
    ]
    return {
        name: module
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name[0].isupper()
    }


def _build(name: str, weights: str) -> Any:
    """Build a classifier with its weights."""
    function: Callable[..., Any] = getattr(_families()[name], name)
    if weights == "default":
        with downloading(f"keras:{name}", "the file that the address names", _CACHE):
            return function(weights="imagenet")
    model = function(weights=None)
    return model if weights == "none" else _from_file(model, Path(weights), name)


def write(model: Any, path: Path) -> None:
    """Write a Keras model as ONNX with Keras' exporter.

    Args:
        model: Keras model with one image input.
        path: ONNX file to write.
    """
    copy = exportable(model)
    copy(
        keras.ops.zeros((1, *model.input_shape[1:]))
    )  # only models that have been called can be exported
    copy.export(str(path), format="onnx", verbose=False)


def exportable(model: Any) -> Any:
    """Copy a Keras model without the three kinds of layers that tf2onnx 1.17 exports wrongly.

    Args:
        model: Keras model.

    Returns:
        An equivalent model with the same weights.
    """
    copy = keras.models.clone_model(model, clone_function=_exportable_layer)
    for layer, copied in zip(model.layers, copy.layers, strict=True):
        weights = layer.get_weights()
        if isinstance(copied, keras.layers.DepthwiseConv2D) and _is_depthwise(layer):
            weights[0] = weights[0].transpose(0, 1, 3, 2)
        if not isinstance(layer, keras.layers.Normalization):
            copied.set_weights(weights)
    return copy


def _exportable_layer(layer: Any) -> Any:
    """Replace normalization (its constants would become inputs), depthwise Conv2D and gelu.

    tf2onnx leaves grouped convolutions as XLA calls, and has no conversion of gelu's erfc.
    """
    if isinstance(layer, keras.layers.Normalization):
        mean, variance = (np.asarray(value).reshape(-1) for value in (layer.mean, layer.variance))
        scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
        return keras.layers.Rescaling(scale.tolist(), (-mean * scale).tolist(), name=layer.name)
    if _is_depthwise(layer):
        return keras.layers.DepthwiseConv2D(
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            use_bias=layer.use_bias,
            activation=layer.activation,
            name=layer.name,
        )
    if isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.gelu:
        return keras.layers.Activation(_gelu, name=layer.name)
    return layer.__class__.from_config(layer.get_config())


def _is_depthwise(layer: Any) -> bool:
    if type(layer) is not keras.layers.Conv2D or layer.groups == 1:
        return False
    return bool(layer.groups == layer.filters == layer.input.shape[-1])


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + keras.ops.erf(x / math.sqrt(2.0)))


def _from_file(model: Any, path: Path, name: str) -> Any:
    """Load a complete Keras model, or weights for the given one."""
    if not path.is_file():
        raise OptionError(f"no weights '{path}' for {name}: give none, default, or a Keras file")
    try:
        if path.suffix == ".keras":
            return keras.models.load_model(path, compile=False, safe_mode=True)
        model.load_weights(path)
    except Exception as error:
        raise OptionError(f"{path} holds no weights of {name}: {first_line(error)}") from None
    return model


def _layer(path: Path, wanted: str | None) -> str | None:
    """Find the tensor of the ONNX file that a Keras layer was exported to."""
    if wanted is None:
        return None
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    outputs = [node.output[0] for node in graph.node if f"/{wanted}" in f"/{node.output[0]}"]
    return outputs[-1] if outputs else None
