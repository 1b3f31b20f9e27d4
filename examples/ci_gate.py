"""A gate for continuous integration: the explanations must not become worse.

    python examples/ci_gate.py new.onnx photos/ baseline.sqlite torch

The first run writes the baseline. Later runs compare with it and end with status 1 if the score
fell below a bound, or significantly below the baseline. Keep the baseline with the released model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path

METHOD = "gradcam"
BOUND = f"{METHOD}.adcc >= 0.60"
MARGIN = 0.02  # a loss of 2 points of ADCC is tolerated


def main(model: str, images: str, baseline: str, preprocess: str | None = None) -> int:
    """Return the exit status."""
    out = None if Path(baseline).exists() else baseline
    result = adcc.evaluate(model, images, METHOD, preprocessing=preprocess, out=out)
    found = adcc.gate(result, require=BOUND, not_worse_than=baseline, margin=MARGIN)
    print("\n".join(found.lines))
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or [str(classifier_path()), "drawings:16", "baseline.sqlite"])))
