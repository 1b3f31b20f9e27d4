"""Export of scikit-learn classifiers to ONNX: `adcc-onnx export sklearn:FILE.py:FUNCTION`.

A function of the user's own code returns the fitted estimator or pipeline, which takes images as
rows of pixels. Pickled estimators are not read, because unpickling runs code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sklearn
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from adcc_onnx.errors import OptionError
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.user_function import call_user_function, sides
from adcc_onnx.kernels.arrays import Float32Array


def names() -> list[str]:
    """List the names of the available classifiers: none, because functions are given."""
    return []


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Export a classifier.

    Args:
        name: "FILE.py:FUNCTION" or "package.module:FUNCTION". The function returns a fitted
            estimator with `predict_proba` and a dict with the keys of its card, of which `size` is
            required. A row holds the pixels of one image, in the order height, width, channel.
        weights: "default" and "none" call the function without an argument, and a path with it.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: There is no such function, or it returns something else.
    """
    estimator, keys = call_user_function("sklearn", name, weights)
    width = _features(estimator, name)
    height_width = sides(keys["size"])
    channels = width // (height_width[0] * height_width[1])
    if channels not in (1, 3) or channels * height_width[0] * height_width[1] != width:
        raise OptionError(
            f"the estimator takes {width} features, which is no grayscale or color image of "
            f"{height_width[0]} x {height_width[1]} pixels"
        )
    initial = [("pixels", FloatTensorType([None, width]))]
    model = to_onnx(
        estimator, initial_types=initial, options={id(estimator): {"zipmap": False}}, name="network"
    )
    onnx.save(model, path)
    classes = [str(label) for label in estimator.classes_]
    card: dict[str, Any] = {
        "channels": "L" if channels == 1 else "RGB",
        "layout": "NHWC" if channels == 3 else "NCHW",
        "labels": classes,
        "scores": "probabilities",
        **keys,
        "about": {"source": f"scikit-learn {sklearn.__version__}, {type(estimator).__name__}"},
    }

    def scores(images: Float32Array) -> NDArray[Any]:
        found: NDArray[Any] = np.asarray(estimator.predict_proba(images.reshape(len(images), -1)))
        return found

    return ExportedNetwork(card, scores, output="probabilities")


def _features(estimator: Any, name: str) -> int:
    """Return the number of features that a fitted classifier takes."""
    if not hasattr(estimator, "predict_proba"):
        raise OptionError(f"{name} returns no classifier with predict_proba")
    features = getattr(estimator, "n_features_in_", None)
    if features is None or not hasattr(estimator, "classes_"):
        raise OptionError(f"{name} returns an estimator that is not fitted")
    return int(features)
