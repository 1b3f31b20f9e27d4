"""Export of Paddle's vision classifiers to ONNX: `adcc-onnx export paddle:NAME`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError, first_line
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.recipe_loading import require_name
from adcc_onnx.exporting.weights_download import downloading
from adcc_onnx.kernels.arrays import Float32Array

_SIZE, _RESIZE, _OPSET = 224, 256, 17
_SIZES = {"inception_v3": (299, 342)}
# The constants that Paddle's documentation gives for its ImageNet weights.
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_CACHE = "~/.cache/paddle/hapi/weights"


def names() -> list[str]:
    """List the names of the available classifiers."""
    models = paddle.vision.models
    return sorted(
        name
        for name, function in inspect.getmembers(models, inspect.isfunction)
        if "pretrained" in inspect.signature(function).parameters
    )


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Export a classifier.

    Args:
        name: Name of the classifier, one of `names()`.
        weights: "default" (ImageNet weights, downloaded by Paddle), "none" (random), or the path
            of a `.pdparams` file. Paddle unpickles such a file, so it must be trusted.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: The file does not exist or holds no weights of this classifier.
        ModelError: The weights cannot be downloaded.
    """
    require_name("paddle", name, names())
    network = _build(name, weights)
    network.eval()
    size, resize = _SIZES.get(name, (_SIZE, _RESIZE))
    image = paddle.static.InputSpec([None, 3, size, size], "float32", "image")
    paddle.onnx.export(network, str(path.with_suffix("")), input_spec=[image], opset_version=_OPSET)
    card = {
        "size": size,
        "resize": resize,
        "interpolation": "bilinear",
        "scale": 255.0,
        "mean": _MEAN,
        "std": _STD,
        "channels": "RGB",
        "layout": "NCHW",
        "scores": "logits",
        "about": {
            "source": f"paddle {paddle.__version__}, {name}",
            "weights": "none (random)" if weights == "none" else weights,
        },
    }

    def scores(images: Float32Array) -> NDArray[Any]:
        with paddle.no_grad():
            found = network(paddle.to_tensor(images))
        first = found[0] if isinstance(found, list | tuple) else found
        values: NDArray[Any] = np.asarray(first.numpy())
        return values

    return ExportedNetwork(card, scores)


def _build(name: str, weights: str) -> Any:
    """Build a classifier with its weights."""
    function = getattr(paddle.vision.models, name)
    if weights == "default":
        with downloading(f"paddle:{name}", "the file that the address names", _CACHE):
            return function(pretrained=True)
    network = function(pretrained=False)
    if weights == "none":
        return network
    if not Path(weights).is_file():
        raise OptionError(f"there is no file {weights} with weights: give default, none or a file")
    try:
        missing, unknown = network.set_state_dict(paddle.load(weights))
    except Exception as error:  # it raises errors of many types
        raise OptionError(f"{weights} holds no weights of {name}: {first_line(error)}") from error
    if missing or unknown:
        raise OptionError(
            f"{weights} holds no weights of {name}: it lacks {(missing or unknown)[0]}"
        )
    return network
