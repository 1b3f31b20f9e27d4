"""The table of docs/results/untrained.md: predictions of untrained and of trained networks.

Run `python -m helpers.untrained_networks [NAME ...]` in `tests/`, with ADCC_TEST_DATA.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import adcc_onnx as adcc
from adcc_onnx.drawings import CLASSIFIERS, classifier_path
from adcc_onnx.evaluation.shuffled_pixels import similarity_after_shuffling
from adcc_onnx.images.sources.given_images import as_source
from helpers.shared_models import PRESETS, shared_model

# With batch normalization, with other normalizations, and without any; the last four have tokens.
UNTRAINED = (
    "torchvision:resnet18",
    "torchvision:densenet121",
    "torchvision:mobilenet_v2",
    "torchvision:squeezenet1_1",
    "keras:MobileNet",
    "keras:ResNet50",
    "torchvision:convnext_tiny",
    "torchvision:swin_t",
    "timm:vit_tiny_patch16_224",
    "timm:mixer_s32_224",
)
TRAINED = (*PRESETS, *CLASSIFIERS)
_IMAGES, _SHUFFLED = 24, 12


def untrained_file(network: str, folder: Path) -> Path:
    """Export a network with random weights.

    Args:
        network: A name of `UNTRAINED`.
        folder: The folder of the file.
    """
    framework, name = network.split(":")
    if framework == "keras":
        import keras

        keras.utils.set_random_seed(0)
    else:
        import torch

        torch.manual_seed(0)
    return adcc.export(network, folder / f"{name}.onnx", weights="none")


def evaluated(name: str, data: Path, folder: Path) -> adcc.EvaluationResult:
    """Evaluate a network on 24 photos of different classes (drawings for a built-in classifier).

    Args:
        name: A name of `UNTRAINED` or `TRAINED`.
        data: The folder of the shared models and photos.
        folder: The folder for exported networks.
    """
    model = _model(name, data, folder)
    return adcc.evaluate(
        model, _images(name, data), "fakecam", "complexity", controls=False, thumbnails=False
    )


def row(name: str, data: Path, folder: Path) -> str:
    """Return the row of a network.

    Args:
        name: A name of `UNTRAINED` or `TRAINED`.
        data: The folder of the shared models and photos.
        folder: The folder for exported networks.
    """
    model, result = _model(name, data, folder), evaluated(name, data, folder)
    rows = result.image_rows
    median = np.median([one.probability for one in rows])
    share = Counter(one.predicted for one in rows).most_common(1)[0][1] / len(rows)
    alike = similarity_after_shuffling(model, as_source(_images(name, data)), range(_SHUFFLED))
    said = "none"
    if result.warnings:
        said = "unsure" if "very unsure" in result.warnings[0] else "shuffled"
    classes = model.classifier.classes
    percent = f"{float(f'{100 * median:.2g}'):g} %"
    return f"| {name} | {classes:,} | {percent} | {100 * share:.0f} % | {alike:.2f} | {said} |"


def _model(name: str, data: Path, folder: Path) -> adcc.Model:
    if name in PRESETS:
        return shared_model(data, name)
    if name in CLASSIFIERS:
        return adcc.load(classifier_path(name), device="cpu")
    file = folder / f"{name.partition(':')[2]}.onnx"
    return adcc.load(file if file.exists() else untrained_file(name, folder), device="cpu")


def _images(name: str, data: Path) -> str | list[Path]:
    if name in CLASSIFIERS:
        return f"drawings:{_IMAGES}"
    return sorted((data / "photos").iterdir())[:_IMAGES]


if __name__ == "__main__":
    shared = Path(os.environ["ADCC_TEST_DATA"])
    for network in sys.argv[1:] or (*UNTRAINED, *TRAINED):
        with tempfile.TemporaryDirectory() as exported:
            print(row(network, shared, Path(exported)), flush=True)
