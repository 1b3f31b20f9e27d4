"""Predictions and heatmaps of a baked model: this program needs no adcc-onnx.

    adcc-onnx bake classifier.onnx --method gradcam -o explained.onnx
    python examples/serve_baked_model.py explained.onnx photo.png heatmap.png

It uses onnxruntime, NumPy and Pillow. The preprocessing is that of the built-in classifier; change
the three constants to those of your model card.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIZE, MEAN, STD = 112, 0.5, 0.25


def main(model: str, photo: str, out: str) -> None:
    """Print the most probable class, and write the heatmap beside the photo as a picture."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    seen = ImageOps.fit(Image.open(photo).convert("RGB"), (SIZE, SIZE), Image.Resampling.BILINEAR)
    scores, heatmap = session.run(None, {image.name: prepared(seen)})
    probabilities = np.exp(scores[0] - scores[0].max())
    probabilities /= probabilities.sum()
    best = int(probabilities.argmax())
    print(f"class {best}: {100 * probabilities[best]:.1f} %, heatmap {heatmap.shape}")
    Image.fromarray(side_by_side(np.asarray(seen), heatmap[0])).save(out)


def prepared(image: Image.Image) -> NDArray[np.float32]:
    """Return an image as the input of the model, float32 [1, 3, SIZE, SIZE]."""
    pixels = np.asarray(image, np.float32) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)


def side_by_side(image: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the image beside the part of it that the heatmap shows, [H, 2 W, 3]."""
    shown = (image * heatmap[..., None]).astype(np.uint8)
    return np.concatenate([image, shown], axis=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
