"""The table of docs/results/preprocessing.md: `check` on ten trained classifiers.

Run `python -m helpers.preprocessing_table [NAME ...]` in `tests/`, with ADCC_TEST_DATA.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import adcc_onnx as adcc
from adcc_onnx.studies.preprocessing_check import PreprocessingCheck
from helpers.lite_models import LITES, lite_file

# The pixel values that each model was trained with, as the search names them. EfficientNet-Lite
# takes (RGB - 127) / 128, which differs from tf by less than half a pixel value.
TRAINED_WITH = {
    "mobilenet_v2": "torch",
    "deit_tiny_patch16_224": "torch",
    "bvlc_googlenet": "caffe",
    "mobilenet_v2_tf2": "tf",
    "squeezenet1.1_mxnet": "torch",
    "SqueezeNet_fp16": "caffe",
    "mobilenet_v1_025_keras": "tf",
    **{f"lite{number}": "tf" for number in LITES},
}


def model_file(name: str, data: Path, folder: Path) -> Path:
    """Return the ONNX file of a model.

    Args:
        name: A key of `TRAINED_WITH`.
        data: The folder of the shared models and photos.
        folder: The folder for exported models.
    """
    if name.startswith("lite"):
        return lite_file(int(name.removeprefix("lite")), folder)
    return data / "models" / f"{name}.onnx"


def checked(path: Path, data: Path, labeled: bool) -> PreprocessingCheck:
    """Search for the preprocessing of a model on the shared photos: 100 with labels, 50 without.

    Args:
        path: The ONNX file.
        data: The folder of the shared models and photos.
        labeled: Whether the search gets the labels.
    """
    images = data / "labels.csv" if labeled else sorted((data / "photos").iterdir())
    return adcc.check(path, images, limit=100 if labeled else 50, device="cpu")


def row(name: str, data: Path, folder: Path) -> str:
    """Return the row of a model.

    Args:
        name: A key of `TRAINED_WITH`.
        data: The folder of the shared models and photos.
        folder: The folder for exported models.
    """
    path = model_file(name, data, folder)
    cells = [name, f"`{TRAINED_WITH[name]}`"]
    for labeled in (True, False):
        found = checked(path, data, labeled)
        best = found.best
        others = dict.fromkeys(c.values for c in found.candidates if c.fits)
        others.pop(best.values)
        score = f"{100 * best.top1:.0f} %" if best.top1 is not None else f"{best.consistency:.2f}"
        shape = f"{best.geometry}, {best.preprocessing.interpolation}"
        cells += [f"**{best.values}**, {shape}", score, ", ".join(others) or "none"]
        cells += [f"{found.passes:,}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    shared = Path(os.environ["ADCC_TEST_DATA"])
    for model in sys.argv[1:] or TRAINED_WITH:
        with tempfile.TemporaryDirectory() as exported:
            print(row(model, shared, Path(exported)), flush=True)
