"""Which of two layers gives better explanations? Two runs on the same images are compared.

    python examples/compare_two_runs.py

The same program compares two models, two protocols or two versions of a method.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path


def main() -> None:
    """Print the ranked tables of both runs and the paired differences."""
    model = adcc.load(classifier_path(), device="cpu")
    layers = [layer["name"] for layer in adcc.inspect(model)["layers"]]
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for name, layer in (("early", layers[-3]), ("late", layers[-1])):
            runs.append(Path(folder, f"{name}.sqlite"))
            layered = model.with_layers(layer)
            adcc.evaluate(layered, "drawings:16", "layercam", controls=False, out=runs[-1])
        print(adcc.render_report(runs, width=100))
        print(adcc.render_report(runs, compare=True, width=100))


if __name__ == "__main__":
    main()
