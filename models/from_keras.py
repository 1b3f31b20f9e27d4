"""Export Keras applications to ONNX with their cards: `adcc-onnx export keras:NAME`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

# The preprocessing of each family: what its `preprocess_input` does with RGB values of 0..255.
_TF = {"scale": 127.5, "mean": [1.0] * 3, "std": [1.0] * 3, "channels": "RGB"}
_TORCH = {
    "scale": 255.0,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "channels": "RGB",
}
_CAFFE = {"scale": 1.0, "mean": [103.939, 116.779, 123.68], "std": [1.0] * 3, "channels": "BGR"}
_INSIDE = {"scale": 1.0, "mean": [0.0] * 3, "std": [1.0] * 3, "channels": "RGB"}
FAMILIES = (
    ("ConvNeXt", _INSIDE),
    ("DenseNet", _TORCH),
    ("EfficientNet", _INSIDE),
    ("InceptionResNetV2", _TF),
    ("InceptionV3", _TF),
    ("MobileNetV3", _INSIDE),
    ("MobileNet", _TF),
    ("NASNet", _TF),
    ("ResNet50V2", _TF),
    ("ResNet101V2", _TF),
    ("ResNet152V2", _TF),
    ("ResNet", _CAFFE),
    ("VGG", _CAFFE),
    ("Xception", _TF),
)
# Output of the last convolutional stage, the usual target layer in the CAM literature.
LAYERS = {"VGG16": "block5_conv3", "VGG19": "block5_conv4"}


def names() -> list[str]:
    """Return the names of all supported classifiers."""
    return sorted(
        name
        for name in dir(keras.applications)
        if name[0].isupper() and any(name.startswith(family) for family, _ in FAMILIES)
    )


def export(name: str, weights: str, path: Path) -> dict[str, Any]:
    """Write one classifier and return the content of its card.

    Args:
        name: Name of the classifier, one of `names`.
        weights: "default" (ImageNet's, downloaded by Keras), "none" (random), or a Keras file.
        path: Path of the ONNX file to write.

    Returns:
        Keys and values of the card.

    Raises:
        ValueError: The file contains no weights of this network.
    """
    build = getattr(keras.applications, name)
    model = build(weights="imagenet" if weights == "default" else None)
    if weights not in ("default", "none"):
        model = _from_file(model, Path(weights), name)
    size = int(model.input_shape[1])
    write(model, path)
    pixels = next(steps for family, steps in FAMILIES if name.startswith(family))
    return {
        "size": size,
        "resize": round(size * 256 / 224),
        "interpolation": "bilinear",
        **pixels,
        "layout": "NHWC",
        "labels": None,
        "layer": _layer(path, LAYERS.get(name)),
        "scores": "probabilities",
        "about": {"source": f"keras {keras.__version__}, {name}", "weights": weights},
    }


def write(model: Any, path: Path) -> None:
    """Write the model as ONNX with Keras' own exporter."""
    copy = exportable(model)
    copy(
        keras.ops.zeros((1, *model.input_shape[1:]))
    )  # a model that was never called cannot be exported
    copy.export(str(path), format="onnx", verbose=False)


def exportable(model: Any) -> Any:
    """Copy the network and replace the three kinds of layer that tf2onnx 1.17 cannot convert."""
    copy = keras.models.clone_model(model, clone_function=_replaced)
    for layer, own in zip(model.layers, copy.layers, strict=True):
        weights = layer.get_weights()
        if isinstance(own, keras.layers.DepthwiseConv2D) and _is_depthwise(layer):
            weights[0] = weights[0].transpose(0, 1, 3, 2)
        if not isinstance(layer, keras.layers.Normalization):
            own.set_weights(weights)
    return copy


def _replaced(layer: Any) -> Any:
    """Replace a layer if its constants become inputs, or it stays an XLA call, or it uses erfc."""
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
    grouped = type(layer) is keras.layers.Conv2D and layer.groups > 1
    return grouped and layer.groups == layer.filters == layer.input.shape[-1]


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + keras.ops.erf(x / math.sqrt(2.0)))


def _from_file(model: Any, path: Path, name: str) -> Any:
    """Load a complete Keras model, or weights for the network."""
    if not path.is_file():
        raise ValueError(f"no weights '{path}' for {name}: use none, default, or a Keras file")
    try:
        if path.suffix == ".keras":
            return keras.models.load_model(path, compile=False, safe_mode=True)
        model.load_weights(path)
    except Exception as error:
        raise ValueError(
            f"{path} contains no weights of {name}: {str(error).splitlines()[0]}"
        ) from None
    return model


def _layer(path: Path, wanted: str | None) -> str | None:
    """Return the tensor of the ONNX file that corresponds to a Keras layer."""
    if wanted is None:
        return None
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    made = [node.output[0] for node in graph.node if f"/{wanted}" in f"/{node.output[0]}"]
    return made[-1] if made else None
