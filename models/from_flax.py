"""Export of JAX classifiers to ONNX with jax2onnx: `adcc-onnx export flax:FILE.py:FUNCTION`.

JAX has no collection of pretrained classifiers, so a function of the user's own code returns the
network: a module of flax.nnx or Equinox, or any function from a batch of images to scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
import onnx
from jax2onnx import to_onnx

from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.user_function import call_user_function, sides

_CHANNELS = {"L": 1}


def names() -> list[str]:
    """List the names of the available classifiers: none, because functions are given."""
    return []


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Export a classifier.

    Args:
        name: "FILE.py:FUNCTION" or "package.module:FUNCTION". The function returns the network and
            a dict with the keys of its card, of which `size` is required. It takes images
            [N, H, W, C], or [N, C, H, W] if the card has layout = "NCHW".
        weights: "default" and "none" call the function without an argument, and a path with it.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: There is no such function, or it returns something else.
    """
    network, keys = call_user_function("flax", name, weights)
    if hasattr(network, "eval"):
        network.eval()
    card: dict[str, Any] = {"layout": "NHWC", "scores": "logits", **keys}
    height, width = sides(card["size"])
    depth = _CHANNELS.get(card.get("channels", "RGB"), 3)
    pixels = (depth, height, width) if card["layout"] == "NCHW" else (height, width, depth)
    model = to_onnx(network, [("B", *pixels)], model_name=name.rpartition(":")[2])
    onnx.save(model, path)
    source = f"flax {flax.__version__}, jax {jax.__version__}, {Path(name).name}"
    card["about"] = {"source": source, "weights": Path(weights).name, **card.get("about", {})}
    return ExportedNetwork(card, lambda images: np.asarray(network(images)))
