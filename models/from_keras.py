"""Export of Keras applications to ONNX with model cards: `adcc-onnx export keras:NAME`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

# Preprocessing of RGB pixels 0..255 by each family's `preprocess_input`.
_TF = {"scale": 127.5, "mean": [1.0] * 3, "std": [1.0] * 3, "channels": "RGB"}
_TORCH = {
    "scale": 255.0,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "channels": "RGB",
}
_CAFFE = {"scale": 1.0, "mean": [103.939, 116.779, 123.68], "std": [1.0] * 3, "channels": "BGR"}
# The model itself contains the preprocessing.
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
# Output of the last convolutional stage: the target layer in the CAM literature.
LAYERS = {"VGG16": "block5_conv3", "VGG19": "block5_conv4"}


def names() -> list[str]:
    """List the names of the available classifiers."""
    return sorted(
        name
        for name in dir(keras.applications)
        if name[0].isupper() and any(name.startswith(family) for family, _ in FAMILIES)
    )


def export(name: str, weights: str, path: Path) -> dict[str, Any]:
    """Export a classifier and return the content of its model card.

    Args:
        name: Name of the classifier, one of `names()`.
        weights: "default" (ImageNet weights, downloaded by Keras), "none" (random), or the path of
            a Keras file.
        path: ONNX file to write.

    Returns:
        The keys of the model card.

    Raises:
        ValueError: The Keras file does not exist or holds no weights of this classifier.
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
        raise ValueError(f"no weights '{path}' for {name}: give none, default, or a Keras file")
    try:
        if path.suffix == ".keras":
            return keras.models.load_model(path, compile=False, safe_mode=True)
        model.load_weights(path)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} holds no weights of {name}: {reason}") from None
    return model


def _layer(path: Path, wanted: str | None) -> str | None:
    """Find the tensor of the ONNX file that a Keras layer was exported to."""
    if wanted is None:
        return None
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    outputs = [node.output[0] for node in graph.node if f"/{wanted}" in f"/{node.output[0]}"]
    return outputs[-1] if outputs else None
