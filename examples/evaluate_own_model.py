"""Which method explains my model best, and is that certain?

    python examples/evaluate_own_model.py resnet50.onnx photos/ torch

Without arguments, the built-in classifier and generated drawings are used.
"""

from __future__ import annotations

import sys

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path

METHODS = ["gradcam", "gradcam++", "layercam", "eigencam", "reciprocam"]


def main(model: str, images: str, preprocess: str | None = None) -> None:
    """Print the ranking and what it means."""
    result = adcc.evaluate(model, images, METHODS, preprocessing=preprocess, limit=200)
    print(adcc.render_report(result, width=100))
    if result.top1 is not None:
        print(f"top-1 accuracy {100 * result.top1:.1f} %: is that the accuracy of your model?")
    methods, controls = result.ranked
    best, control = methods[0], controls[0]
    low, high = result.methods[best].intervals["adcc"]
    print(f"best: {best}, ADCC between {100 * low:.1f} and {100 * high:.1f} with 95 % confidence")
    if best in (result.not_better_than_control or []):
        print(f"{best} is not significantly better than the control {control}")
    others = [name for name in result.not_significantly_worse or [] if name != best]
    print(f"not significantly worse: {', '.join(others) or 'no other method'}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or [str(classifier_path()), "drawings:16"]))
